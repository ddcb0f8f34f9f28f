package spoolctl

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// risky reports whether a terminal may act on a character: C0 and C1 controls, DEL, and what changes the direction
// or the ends of lines.
func risky(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}

// printable is a name from a directory that others may have written, for a line of text.
func printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, risky) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "\\x%02x", s[i])
		case risky(r):
			fmt.Fprintf(&b, "\\u{%x}", r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// appendEscaped appends a JSON text of valid UTF-8 in which risky characters are escaped. Those above 0x1f stand
// within strings only, so the value is the same.
func appendEscaped(dst, text []byte) []byte {
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

func isEscaped(r rune) bool { return r > 0x1f && risky(r) }
