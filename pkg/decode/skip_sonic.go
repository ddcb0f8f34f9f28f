//go:build !purego && !go1.28 && (amd64 || arm64)

package decode

import (
	stdutf8 "unicode/utf8"

	"github.com/bytedance/sonic/decoder"
	"github.com/bytedance/sonic/utf8"
)

// Native tells whether sonic's native code is in use.
const Native = true

// minNative: sonic v1.15.5 reads past the end of inputs under four bytes that start like a literal.
// Inputs of eight bytes or more never did so in a million mutated ones.
const minNative = 8

// maxNative bounds one native call: it cannot be preempted, so every byte more delays a stop of the
// world. 64 KiB take some 25 us.
const maxNative = 64 << 10

// skip is sonic's Skip over the value at p, in lenient mode's accept set. -1: not good, or not decided
// here (too short, too long): then the Go scanner decides.
func skip(b []byte, p int) int {
	v := b[p:min(len(b), p+maxNative)]
	if len(v) < minNative {
		return -1
	}
	s, n := decoder.Skip(v)
	if s != 0 || n > len(v) {
		return -1
	}
	return p + n
}

func validUTF8(b []byte) bool {
	for len(b) > maxNative {
		n := maxNative
		for n > maxNative-stdutf8.UTFMax && !stdutf8.RuneStart(b[n]) {
			n--
		}
		if !utf8.Validate(b[:n]) {
			return false
		}
		b = b[n:]
	}
	if len(b) < minNative {
		return stdutf8.Valid(b)
	}
	return utf8.Validate(b)
}

func (d *Decoder) longText(b []byte, p int) int {
	if end := strictString(b, p); end >= 0 {
		return end
	}
	if d.lenient {
		if end := skip(b, p-1); end >= 0 {
			return end
		}
	}
	return d.text(b, p)
}

// container takes an object or array inside an element.
func (d *Decoder) container(b []byte, p int) int {
	if end, _, _ := validate(b, p, MaxDepth-1, false); end >= 0 {
		return end
	}
	if end := skip(b, p); end >= 0 {
		if v := b[p:end]; (d.lenient || plainText(v)) && !mayBeTooDeep(v) {
			return end
		}
	}
	end, _, _ := validate(b, p, MaxDepth-1, d.lenient)
	return end
}
