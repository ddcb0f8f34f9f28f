package decode

import (
	"fmt"
	"testing"
)

// Every way to find the end of a string gives the same answer as the plain one.
func TestStringsAgree(t *testing.T) {
	alphabet := []string{`"`, `\`, `\"`, `\\`, `\u`, `\u00e9`, `\u12`, `\x`, `\n`, "a", "bc", "5", "f", "\x00", "\x1f", "é", "日志",
		"\xff", "\xc3", " ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "u", `\/`, `\b`, "x"}
	for _, bias := range []int{3, 12, 60} {
		r := newRand(uint64(bias))
		for range 30_000 / bias * 3 {
			var b []byte
			for n := r.IntN(200); len(b) < n; {
				if r.IntN(bias) == 0 {
					b = append(b, alphabet[r.IntN(len(alphabet))]...)
				} else {
					b = append(b, logText(r, 5, 2, heavyEscapes)...)
				}
			}
			b = append(b, `"tail that nobody should look at \q \" and so on, and on, and on, and on, and on"`[:r.IntN(80)]...)
			b = b[:len(b):len(b)]
			want := strictGo(b, 0)
			if got := strictString(b, 0); got != want {
				t.Fatalf("strictString %d, strictGo %d: %q", got, want, b)
			}
			if lenient := lenientString(b, 0); want >= 0 && lenient != want {
				t.Fatalf("lenient %d, strict %d: %q", lenient, want, b)
			}
			if want < 0 {
				if off, reason := stringFault(b, 0, false); off > len(b) || reason == OK {
					t.Fatalf("stringFault %d %v: %q", off, reason, b)
				}
			}
		}
	}
}

func BenchmarkString(b *testing.B) {
	for _, p := range []struct {
		name    string
		gap     int
		escapes []string
	}{{"heavy", 2, heavyEscapes}, {"light", 16, lightEscapes}, {"unicode", 1, []string{`\u65e5\u5fd7`}}} {
		for _, n := range []int{10, 24, 240, 4096} {
			s := []byte(logText(newRand(1), n, p.gap, p.escapes) + `"` + logText(newRand(1), 100, p.gap, p.escapes))
			for _, c := range []struct {
				name string
				run  func([]byte, int) int
			}{{"best", strictString}, {"go", strictGo}, {"lenient", lenientString}} {
				b.Run(fmt.Sprintf("%s/%d/%s", p.name, n, c.name), func(b *testing.B) {
					b.SetBytes(int64(n))
					for b.Loop() {
						if c.run(s, 0) < 0 {
							b.Fatal("bad")
						}
					}
				})
			}
		}
	}
}
