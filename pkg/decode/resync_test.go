package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

type mutation struct {
	name string
	do   func(el []byte, x int, c byte) []byte // x is a place in el
}

// mutations of one element.
var mutations = []mutation{
	{"replace", func(el []byte, x int, c byte) []byte { el[x] = c; return el }},
	{"delete", func(el []byte, x int, _ byte) []byte { return append(el[:x], el[x+1:]...) }},
	{"insert", func(el []byte, x int, c byte) []byte {
		return append(el[:x], append([]byte{c}, el[x:]...)...)
	}},
	{"truncate", func(el []byte, x int, _ byte) []byte { return el[:x] }},
}

const nasty = "\"\\{}[]:, \n0axn\x00\xff"

// generic elements are no telemetry at all, with arrays of objects and names inside.
func generic(r *rand.Rand, n int) [][]byte {
	els := make([][]byte, n)
	for i := range els {
		els[i] = fmt.Appendf(nil, `{"id":%d,"text":"%s","list":[{"k":%d,"s":"}],{"},{"k":2},[]],"o":{"p":{"q":[true,null]}},"f":-1.5e%d}`,
			i, logText(r, r.IntN(60), 3, heavyEscapes), r.IntN(1000), r.IntN(9))
	}
	return els
}

func pretty(r *rand.Rand, n int) [][]byte {
	els := generic(r, n)
	for i, el := range els {
		var b bytes.Buffer
		if json.Indent(&b, el, "", "  ") == nil {
			els[i] = b.Bytes()
		}
	}
	return els
}

func brief(items []item) string {
	var s strings.Builder
	for _, it := range items {
		fmt.Fprintf(&s, "%.60q…%.60q\n", it.String(), it.raw[max(0, len(it.raw)-30):])
	}
	return s.String()
}

// One element with one wrong byte among others: the others are delivered, and every byte is accounted
// for (by run). The telemetry may lose nothing at all. The generic elements have arrays of objects, in
// which a wrong bracket can be read in more ways than one.
func TestNoNeighbourLost(t *testing.T) {
	for _, c := range []struct {
		name     string
		elements func(r *rand.Rand, n int) [][]byte
		perMille int // untouched elements that may be lost
	}{{"heavy", heavy.elements, 0}, {"light", light.elements, 0}, {"generic", generic, 1}, {"pretty", pretty, 1}} {
		for _, m := range mutations {
			t.Run(c.name+"/"+m.name, func(t *testing.T) {
				r := newRand(11)
				untouched, missing := 0, 0
				for range 600 {
					els := c.elements(r, 3+r.IntN(28))
					k := r.IntN(len(els))
					rest := append(append([][]byte{}, els[:k]...), els[k+1:]...)
					el := bytes.Clone(els[k])
					els[k] = m.do(el, r.IntN(len(el)), nasty[r.IntN(len(nasty))])
					body := array(els)
					o := Options{Lenient: r.IntN(2) == 0}
					items, _ := run(t, body, o)
					untouched += len(rest)
					if gone := lost(rest, good(items)); len(gone) > 0 {
						if missing += len(gone); c.perMille == 0 {
							t.Errorf("%d lost next to %q:\n%s", len(gone), els[k], brief(items))
						} else if missing < 3 {
							t.Logf("%d lost next to %q:\n%s", len(gone), els[k], brief(items))
						}
					}
				}
				if missing*1000 > untouched*c.perMille {
					t.Errorf("%d of %d untouched elements lost", missing, untouched)
				}
			})
		}
	}
}

// A wrong byte anywhere, brackets and commas between elements included: nothing panics, every byte is
// accounted for.
func TestAnyByteOfTheBody(t *testing.T) {
	body := array(append(small.elements(newRand(3), 2)[1:], generic(newRand(4), 2)...))
	for x := range body {
		for _, m := range mutations {
			for i, c := range []byte(nasty) {
				if i > 0 && (m.name == "delete" || m.name == "truncate") {
					break
				}
				for _, o := range []Options{{}, {Lenient: true}, {NDJSON: true}} {
					run(t, m.do(bytes.Clone(body), x, c), o)
				}
			}
		}
	}
}

// The elements before the cut are delivered, what is left of the cut one is one region.
func TestTruncationAtEveryByte(t *testing.T) {
	els := append(small.elements(newRand(5), 6), []byte(`{"a":[{"b":tru`+`e},12.5e7],"c":"é\u00e9"}`))
	body := array(els)
	both(t, func(t *testing.T, o Options) {
		for n := range len(body) {
			whole, at := 0, 1
			for _, el := range els {
				if at+len(el) > n {
					break
				}
				whole, at = whole+1, at+len(el)+1
			}
			items, notes := run(t, body[:n:n], o)
			g := good(items)
			if len(lost(els[:whole], g)) > 0 || len(g) != whole {
				t.Fatalf("cut at %d: %v, want %d events", n, lines(items), whole)
			}
			if rest := n - at; n == 1 || rest > 0 {
				last := items[len(items)-1]
				if len(items) != whole+1 || last.reason != Truncated || last.errOff != last.offset+len(last.raw) {
					t.Fatalf("cut at %d: %v", n, lines(items))
				}
			} else if n > 0 && !notes.Unclosed {
				t.Fatalf("cut at %d: silence", n)
			}
		}
	})
}

// A string that does not end keeps every byte: what would separate elements elsewhere is its content.
func TestOpenStringKeepsItsBytes(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"[{\"logs\":\"hello, \t", "{\"logs\":\"hello, \t"},
		{`{"logs":"hello, `, `{"logs":"hello, `},
		{`[{"logs":"hello,,`, `{"logs":"hello,,`},
		{"[{\"logs\":\"hello,\n \n", "{\"logs\":\"hello,\n \n"},
		{`[{}] "hello, `, `"hello, `},
		{`[{},"hello, `, `"hello, `},
		{`[{"logs":"hello, ]`, `{"logs":"hello, `},
	} {
		for _, o := range []Options{{}, {Lenient: true}} {
			items, _ := run(t, []byte(c.body), o)
			if last := items[len(items)-1]; last.raw != c.want {
				t.Errorf("%q: dead letter %q, want %q", c.body, last.raw, c.want)
			}
		}
	}
}

// Whatever a bad line holds, the lines around it do not suffer.
func TestBadLineCostsOnlyItself(t *testing.T) {
	r := newRand(6)
	for range 500 {
		els := heavy.elements(r, 5)
		k := r.IntN(5)
		rest := append(append([][]byte{}, els[:k]...), els[k+1:]...)
		m := mutations[r.IntN(len(mutations))]
		els[k] = m.do(bytes.Clone(els[k]), r.IntN(len(els[k])), nasty[r.IntN(len(nasty))])
		items, _ := run(t, bytes.Join(els, []byte("\r\n")), Options{NDJSON: true, Lenient: r.IntN(2) == 0})
		if gone := lost(rest, good(items)); len(gone) > 0 {
			t.Fatalf("%q lost next to %q", gone, els[k])
		}
	}
}

// hostile are bodies of about n bytes that are made to be expensive.
func hostile(n int) map[string]string {
	fill := func(begin, part string) string { return begin + strings.Repeat(part, n/len(part)) }
	return map[string]string{
		"brackets":           fill("", "["),
		"braces":             fill("[", `{"`),
		"bad objects":        fill("[", `{"name":x},`),
		"unclosed objects":   fill("[", `,{"name":"function","a":{`),
		"unclosed arrays":    fill("[", `{"x":[1,`),
		"quotes":             fill("[", `,{"name":"a""`),
		"nested":             fill(`[{"name":"function","x":`, "["),
		"mismatched":         "[" + strings.Repeat(`{`, 600) + fill("", "]"),
		"commas":             fill("[", ","),
		"blanks":             fill("[", " ") + "x",
		"blank borders":      fill(`[{"a`, `"    {`),
		"colons":             fill("[", `:{`),
		"backslashes":        fill(`[{"a":"`, `\`),
		"backslashed quotes": fill(`[{"a":"`, `\\\"`),
		"stray brackets":     fill("[", `{}]`) + "x]",
		"good after stray":   fill("[", `{}]{"a":1},`) + "]",
		"lost quotes":        fill("[", `{"a":"},{"b":1},`) + "]",
		"headless":           fill("[", `"a":1},`) + "]",
		"digits":             fill(`[{"a":`, "0") + "}]",
		"digits, bad":        fill(`[{"a":`, "11111111x") + "}]",
		"invalid":            fill("", "\xff"),
		"zeros":              fill("", "\x00"),
		// Runs in many levels at once, each given up only far behind.
		"runs in runs":       fill("[", `{"a":[{"a":1},{"a":1},`),
		"events in events":   fill("[", `{"name":"function","a":[1,{"name":"function"},`),
		"events, then deep":  fill("[{x},", `{"name":"function","a":[`+strings.Repeat("[", 400)+`1,{"name":"function"},`),
		"long run, rejected": "[{x}," + strings.Repeat(`{"x"}:1},`, n/20) + strings.Repeat(`{},`, n/6) + "{}]}]",
		"two readings":       fill("[x", `,{"a":"},{","b":"},{"},{"c":"},{":x},`),
		"no quotes":          fill("[", `{},x,`) + "]",
		"closed, then run":   "[" + strings.Repeat(`{x},`, n/8) + strings.Repeat(`{},`, n/6) + "]]",
		"other reading":      `[{"a` + strings.Repeat(`,{":":x},{`, n/20) + strings.Repeat(`,{}`, n/6) + "}",
	}
}

// Bodies made to be expensive. run checks the budget; what counts here is that it holds.
func TestHostileBodies(t *testing.T) {
	for name, body := range hostile(1 << 14) {
		t.Run(name, func(t *testing.T) {
			for _, o := range []Options{{}, {Lenient: true}, {NDJSON: true}} {
				run(t, []byte(body), o)
			}
		})
	}
}

// BenchmarkHostile shows that the time is linear: ns/B does not grow with the body.
func BenchmarkHostile(b *testing.B) {
	for _, size := range []int{64 << 10, 512 << 10, 4 << 20} {
		for name, text := range hostile(size) {
			body := []byte(text)
			b.Run(fmt.Sprintf("%s/%dK", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				var d Decoder
				var e Event
				regions := 0
				for b.Loop() {
					regions = 0
					d.Reset(body, Options{})
					for d.Next(&e) {
						regions++
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(body)), "ns/B")
				b.ReportMetric(float64(d.budget)/float64(len(body)), "left/B")
			})
		}
	}
}

// When the budget is used up the rest is one region, and the accounting still holds.
func TestBudgetUsedUp(t *testing.T) {
	body := []byte(`[{"a":1},{"b":x},{"c":2},{"d":y},{"e":3}]`)
	for budget := range 400 {
		var d Decoder
		var e Event
		d.Reset(body, Options{})
		d.budget = budget
		n, end := 0, 0
		for d.Next(&e) {
			n, end = n+1, e.Offset()+len(e.Raw())
		}
		if n < 2 || end != len(body)-1 {
			t.Fatalf("budget %d: %d items up to %d", budget, n, end)
		}
	}
}
