//go:build !purego

package decode

import "golang.org/x/sys/cpu"

// scanText looks for the end of a string in the n bytes at p by AVX2, 64 bytes a step, and checks
// everything but UTF-8 on the way. It reads nothing outside of them.
//
// flags&3 says how it ended: textQuote with end at the closing quote, textFault, or textMore with end
// where to go on because fewer than 64 bytes are left. flags&textWide: not all bytes are ASCII (it may
// be set by bytes between end and the last block when there is more to scan).
//
//go:noescape
func scanText(p *byte, n int) (end, flags int)

const (
	textQuote = 0
	textFault = 1
	textMore  = 2
	textWide  = 4

	// maxScan bounds one call, which cannot be preempted: some 3 us.
	maxScan = 64 << 10
)

// Vectors reports whether strings are scanned by assembly: it is in the build, and the processor can.
func Vectors() bool { return cpu.X86.HasAVX2 && cpu.X86.HasBMI1 }

// strictString is strictGo with vectors.
func strictString(b []byte, start int) int {
	if !Vectors() {
		return strictGo(b, start)
	}
	p := start
	wide := uint64(0)
	for len(b)-p >= 64 {
		end, flags := scanText(&b[p], min(len(b)-p, maxScan))
		if flags&textWide != 0 {
			wide = tops
		}
		p += end
		switch flags & 3 {
		case textQuote:
			return endString(b, start, p, wide != 0)
		case textFault:
			return -1
		}
	}
	return strictRest(b, start, p, wide)
}
