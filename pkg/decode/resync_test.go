package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// mutations of one element; x is a place in it.
var mutations = []struct {
	name string
	do   func(el []byte, x int, c byte) []byte
}{
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
				if len(items) != whole+1 || last.reason != Truncated || last.errOff != n {
					t.Fatalf("cut at %d: %v", n, lines(items))
				}
			} else if n > 0 && !notes.Unclosed {
				t.Fatalf("cut at %d: silence", n)
			}
		}
	})
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

// Bodies made to be expensive. run checks the budget; what counts here is that it holds.
func TestHostileBodies(t *testing.T) {
	for name, body := range map[string]string{
		"brackets":         strings.Repeat("[", 1<<14),
		"braces":           "[" + strings.Repeat(`{"`, 1<<10),
		"bad objects":      "[" + strings.Repeat(`{"name":x},`, 1<<11),
		"unclosed objects": "[" + strings.Repeat(`,{"name":"function","a":{`, 1<<10),
		"unclosed arrays":  "[" + strings.Repeat(`{"x":[1,`, 1<<11),
		"quotes":           "[" + strings.Repeat(`,{"name":"a""`, 1<<10),
		"nested":           `[{"name":"function","x":` + strings.Repeat("[", 1<<14),
		"mismatched":       "[" + strings.Repeat(`{`, 600) + strings.Repeat("]", 1<<14),
		"commas":           "[" + strings.Repeat(",", 1<<14),
		"blanks":           "[" + strings.Repeat(" ", 1<<14) + "x",
		"blank borders":    `[{"a` + strings.Repeat(`"    {`, 1<<12),
		"colons":           "[" + strings.Repeat(`:{`, 1<<10),
		"backslashes":      `[{"a":"` + strings.Repeat(`\`, 1<<11),
		"stray brackets":   "[" + strings.Repeat(`{}]`, 1<<11) + "x]",
		"good after stray": "[" + strings.Repeat(`{}]{"a":1},`, 1<<10) + "]",
		"lost quotes":      "[" + strings.Repeat(`{"a":"},{"b":1},`, 1<<10) + "]",
		"headless":         "[" + strings.Repeat(`"a":1},`, 1<<11) + "]",
		"digits":           `[{"a":` + strings.Repeat("0", 1<<14) + "}]",
		"invalid":          strings.Repeat("\xff", 1<<14),
		"zeros":            strings.Repeat("\x00", 1<<14),
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range []Options{{}, {Lenient: true}, {NDJSON: true}} {
				run(t, []byte(body), o)
			}
		})
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
