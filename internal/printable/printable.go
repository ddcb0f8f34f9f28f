// Package printable makes text from elsewhere safe for a terminal and for a log: names of files and topics, values of
// events, what brokers and clients say. What a terminal acts on is escaped, so nothing of it is lost.
package printable

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Risky reports whether a terminal may act on a character: C0 and C1 controls, DEL, and what changes the direction
// or the ends of lines.
func Risky(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}

// Text is s for a line of text. A string without risky characters is returned as it is.
func Text(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, Risky) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "\\x%02x", s[i])
		case Risky(r):
			fmt.Fprintf(&b, "\\u{%x}", r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// AppendJSON appends a JSON text of valid UTF-8 to dst, with risky characters escaped. Those above 0x1f stand within
// strings only, so the value is the same.
func AppendJSON(dst, text []byte) []byte {
	if bytes.IndexFunc(text, isEscaped) < 0 {
		return append(dst, text...)
	}
	for _, r := range string(text) {
		switch {
		case !isEscaped(r):
			dst = utf8.AppendRune(dst, r)
		case r > 0xffff:
			r -= 0x10000
			dst = fmt.Appendf(dst, "\\u%04x\\u%04x", 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			dst = fmt.Appendf(dst, "\\u%04x", r)
		}
	}
	return dst
}

func isEscaped(r rune) bool { return r > 0x1f && Risky(r) }
