package decode

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// blanks is the first offset at or after p that holds no JSON blank. No blank and one space are the
// usual cases and are inlined.
func blanks(b []byte, p int) int {
	if p < len(b) && b[p] == ' ' {
		p++
	}
	if p < len(b) && b[p] > ' ' {
		return p
	}
	return moreBlanks(b, p)
}

func moreBlanks(b []byte, p int) int {
	for p < len(b) && isBlank(b[p]) {
		p++
	}
	return p
}

// trim cuts blanks and raw control bytes off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] <= ' ' {
		b = b[:len(b)-1]
	}
	return b
}

func hasEscape(s []byte) bool { return bytes.IndexByte(s, '\\') >= 0 }

// unescape appends the content s of a JSON string to dst. Invalid UTF-8 is copied as it is, a lone
// surrogate becomes U+FFFD, as in encoding/json. bad is the offset of an illegal escape, or -1.
func unescape(dst, s []byte) (out []byte, bad int) {
	for p := 0; ; {
		i := bytes.IndexByte(s[p:], '\\')
		if i < 0 {
			return append(dst, s[p:]...), -1
		}
		dst = append(dst, s[p:p+i]...)
		p += i
		if p+1 >= len(s) {
			return dst, p
		}
		c := s[p+1]
		switch c {
		case '"', '\\', '/':
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(s, p+2)
			if r < 0 {
				return dst, p
			}
			p += 6
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if p+1 < len(s) && s[p] == '\\' && s[p+1] == 'u' {
					low = hex4(s, p+2)
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					p += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		default:
			return dst, p
		}
		dst = append(dst, c)
		p += 2
	}
}

// hex4 reads four hex digits at p; -1 when there are none.
func hex4(s []byte, p int) rune {
	if p+4 > len(s) {
		return -1
	}
	var r rune
	for _, c := range s[p : p+4] {
		switch {
		case c-'0' < 10:
			r = r<<4 | rune(c-'0')
		case (c|0x20)-'a' < 6:
			r = r<<4 | rune((c|0x20)-'a'+10)
		default:
			return -1
		}
	}
	return r
}
