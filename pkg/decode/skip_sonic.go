//go:build !purego && !nosonic && !go1.28 && (amd64 || arm64)

package decode

import (
	stdutf8 "unicode/utf8"

	"github.com/bytedance/sonic/decoder"
	"github.com/bytedance/sonic/utf8"
)

// Native tells whether sonic's native code is in use.
const Native = true

const (
	// minNative: sonic v1.15.5 reads past the end of inputs under four bytes that start like a literal.
	// Inputs of eight bytes or more never did so in a million mutated ones.
	minNative = 8

	// maxNative bounds one native call, which cannot be preempted: 64 KiB take some 25 us.
	maxNative = 64 << 10
)

// skip is sonic's Skip over the string, object or array at p, with lenient mode's accept set except
// for the depth: the offset behind it, or -1: not good, or not decided here (too short, too long).
//
// A value that ends where the input ends is not believed: v1.15.5 takes an unterminated string for a good
// one when a multiple of 32 bytes follows its quote, with an escaped quote among them (an uninitialised
// byte in advance_string_default). Inside an element something must follow anyway.
func skip(b []byte, p int) int {
	v := b[p:min(len(b), p+maxNative)]
	if len(v) < minNative {
		return -1
	}
	s, n := decoder.Skip(v)
	if s != 0 || n >= len(v) {
		return -1
	}
	return p + n
}

// validUTF8 is utf8.Valid, three times as fast.
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
