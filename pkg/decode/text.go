package decode

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Eight bytes at a time: ones and tops are one bit per byte.
const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

func word(b []byte, p int) uint64 { return binary.LittleEndian.Uint64(b[p : p+8]) }

// special marks (in the top bit of each byte) quotes, backslashes and bytes below 0x20. A borrow can
// mark the byte above a true hit by mistake, never below one: the lowest mark is always true.
func special(x uint64) uint64 {
	q := x ^ ones*'"'
	s := x ^ ones*'\\'
	return ((q-ones)&^q | (s-ones)&^s | (x-ones*0x20)&^x) & tops
}

// strictGo is the offset behind the closing quote of the string whose content starts at p; -1 when
// anything is wrong with it, and stringFault tells what.
func strictGo(b []byte, p int) int { return strictRest(b, p, p, 0) }

// strictRest goes on at p with a string that starts at start. wide collects the top bits of its bytes
// so far: 0 means ASCII.
func strictRest(b []byte, start, p int, wide uint64) int {
	for p+8 <= len(b) {
		x := word(b, p)
		m := special(x)
		if m == 0 {
			wide |= x
			p += 8
			continue
		}
		n := bits.TrailingZeros64(m) >> 3
		wide |= x & (1<<(n*8) - 1)
		p += n
		switch c := b[p]; {
		case c == '"':
			return endString(b, start, p, wide&tops != 0)
		case c != '\\':
			return -1
		}
		if p = escape(b, p); p < 0 {
			return -1
		}
	}
	for p < len(b) {
		c := b[p]
		switch {
		case c == '"':
			return endString(b, start, p, wide&tops != 0)
		case c < 0x20:
			return -1
		case c == '\\':
			if p = escape(b, p); p < 0 {
				return -1
			}
			continue
		}
		wide |= uint64(c)
		p++
	}
	return -1
}

// endString is the end of the string [start, quote): -1 when it is not UTF-8.
func endString(b []byte, start, quote int, wide bool) int {
	if wide && !validUTF8(b[start:quote]) {
		return -1
	}
	return quote + 1
}

// lenientString is the offset behind the next quote that no backslash escapes; -1 when there is none.
func lenientString(b []byte, p int) int {
	q := p
	for {
		i := bytes.IndexByte(b[q:], '"')
		if i < 0 {
			return -1
		}
		q += i
		n := q
		for n > p && b[n-1] == '\\' {
			n--
		}
		if (q-n)&1 == 0 {
			return q + 1
		}
		q++
	}
}

// stringFault finds the first thing that is wrong with the string whose content starts at p. It is
// called for strings that are known to be bad.
func stringFault(b []byte, p int, lenient bool) (int, Reason) {
	if lenient {
		return len(b), Truncated // nothing else is wrong with a string in lenient mode
	}
	for p < len(b) {
		switch c := b[p]; {
		case c == '"':
			return p, BadString // not reached: the string would be good
		case c < 0x20:
			return p, BadString
		case c == '\\':
			q := escape(b, p)
			if q < 0 {
				if ^q >= len(b) {
					return len(b), Truncated
				}
				return ^q, BadString
			}
			p = q
		case c < utf8.RuneSelf:
			p++
		default:
			r, n := utf8.DecodeRune(b[p:])
			if r == utf8.RuneError && n == 1 {
				if !utf8.FullRune(b[p:]) {
					return len(b), Truncated
				}
				return p, InvalidUTF8
			}
			p += n
		}
	}
	return len(b), Truncated
}

// escapeLen is the length of an escape by the byte behind its backslash, 0 where there is none. It
// is a string so that it cannot be written to and costs no bounds check.
const escapeLen = "" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + // " /
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00" + // \
	"\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00" + // b f n
	"\x00\x00\x02\x00\x02\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // r t u

// escape is the offset behind the escape at p, or the complement of the offset of the first byte
// that is wrong with it.
func escape(b []byte, p int) int {
	if p+1 >= len(b) {
		return ^len(b)
	}
	c := b[p+1]
	if c >= 0x80 || escapeLen[c] == 0 {
		return ^(p + 1)
	}
	if c != 'u' {
		return p + 2
	}
	for i := p + 2; i < p+6; i++ {
		if i >= len(b) || !isHex(b[i]) {
			return ^i
		}
	}
	return p + 6
}

func isHex(c byte) bool { return c-'0' < 10 || (c|0x20)-'a' < 6 }
