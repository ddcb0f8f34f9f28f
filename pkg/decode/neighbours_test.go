package decode

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// -bodies is how many bodies TestNeighboursSurvive mutates for each shape and each mutation.
var bodiesFlag = flag.Int("bodies", 300, "bodies for each shape and mutation of TestNeighboursSurvive")

type shape struct {
	name     string
	elements func(r *rand.Rand, n int) [][]byte
}

// shapes are the elements that TestNeighboursSurvive damages, from what the platform sends to what
// a stranger may post.
var shapes = []shape{
	{"telemetry", light.elements},
	{"rows", rows},
	{"pretty", pretty},
	{"documents", documents},
	{"random", randomObjects},
}

// rows are telemetry with arrays of objects inside.
func rows(r *rand.Rand, n int) [][]byte {
	els := make([][]byte, n)
	for i := range els {
		var list []string
		for k := range r.IntN(6) {
			list = append(list, fmt.Sprintf(`{"k":%d,"cells":[{"v":"a%d"},{"v":null},{"v":[]}]}`, k, r.IntN(100)))
		}
		els[i] = fmt.Appendf(nil, `{"name":"function","g":%d,"rows":[%s],"x":1}`, i, strings.Join(list, ","))
	}
	return els
}

// documents are telemetry whose logs hold JSON, escaped.
func documents(r *rand.Rand, n int) [][]byte {
	els := make([][]byte, n)
	for i := range els {
		var list []string
		for k := range 1 + r.IntN(5) {
			list = append(list, fmt.Sprintf(`{\"k\":%d,\"s\":\"},{\",\"name\":\"function\"}`, k))
		}
		els[i] = fmt.Appendf(nil, `{"name":"function","startTime":"2023-02-01T00:03:50.%03dZ","logs":"[Function]{\"list\":[%s]},{\"b\":1}"}`,
			i, strings.Join(list, ","))
	}
	return els
}

func randomObjects(r *rand.Rand, n int) [][]byte {
	els := make([][]byte, n)
	for i := range els {
		els[i] = randomObject(r, nil, 3)
	}
	return els
}

func randomObject(r *rand.Rand, dst []byte, depth int) []byte {
	dst = append(dst, '{')
	for i := range r.IntN(5) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = fmt.Appendf(dst, `"%s":`, words[r.IntN(len(words))])
		dst = randomValue(r, dst, depth)
	}
	return append(dst, '}')
}

func randomValue(r *rand.Rand, dst []byte, depth int) []byte {
	switch k := r.IntN(8); {
	case k < 2 && depth > 0:
		return randomObject(r, dst, depth-1)
	case k < 4 && depth > 0:
		dst = append(dst, '[')
		objects := r.IntN(2) == 0
		for i := range r.IntN(5) {
			if i > 0 {
				dst = append(dst, ',')
			}
			if objects && depth > 1 {
				dst = randomObject(r, dst, depth-2)
			} else {
				dst = randomValue(r, dst, depth-1)
			}
		}
		return append(dst, ']')
	case k < 5:
		return append(dst, []string{"true", "false", "null", "-1.5e7", "0"}[r.IntN(5)]...)
	}
	return fmt.Appendf(dst, `"%s"`, logText(r, r.IntN(20), 3, append(heavyEscapes, "},{", "[", "],{")))
}

type damage struct {
	name string
	do   func(r *rand.Rand, el []byte) []byte
}

func random(list []mutation) (ds []damage) {
	for _, m := range list {
		ds = append(ds, damage{m.name, func(r *rand.Rand, el []byte) []byte { return m.do(el, r.IntN(len(el)), nasty[r.IntN(len(nasty))]) }})
	}
	return ds
}

// damages are what is done to one element. A damage that leaves it as it was is none.
var damages = append(random(mutations), []damage{
	{"bracket", func(r *rand.Rand, el []byte) []byte { // one of its brackets gets lost or becomes another
		var at []int
		for i, c := range el {
			if strings.IndexByte("[]{}", c) >= 0 {
				at = append(at, i)
			}
		}
		x := at[r.IntN(len(at))]
		if r.IntN(2) == 0 {
			return append(el[:x], el[x+1:]...)
		}
		el[x] = "[]{}"[r.IntN(4)]
		return el
	}},
	{"unescape", func(_ *rand.Rand, el []byte) []byte { // a document stands unescaped in a string
		return bytes.ReplaceAll(el, []byte(`\"`), []byte(`"`))
	}},
}...)

// One damaged element costs no other one, whatever its shape. What is delivered beyond the others is a
// fragment of it, or what the damage has left of it when that is still an object.
func TestNeighboursSurvive(t *testing.T) {
	for _, s := range shapes {
		for _, m := range damages {
			t.Run(s.name+"/"+m.name, func(t *testing.T) {
				r := newRand(uint64(len(s.name) * len(m.name)))
				bodies, losses, fragments, bad := 0, 0, 0, 0
				for range *bodiesFlag {
					els := s.elements(r, 2+r.IntN(30))
					k := r.IntN(len(els))
					rest := append(append([][]byte{}, els[:k]...), els[k+1:]...)
					el := els[k]
					damaged := m.do(r, bytes.Clone(el))
					if bytes.Equal(damaged, el) {
						continue
					}
					els[k] = damaged
					items, _ := run(t, array(els), Options{Lenient: r.IntN(2) == 0})
					events := good(items)
					if bodies++; len(events) < len(items) {
						bad++
					}
					gone := lost(rest, events)
					if len(gone) > 0 {
						if losses++; losses <= 3 {
							t.Errorf("%d lost next to %q:\n%s", len(gone), damaged, brief(items))
						}
					}
					n := len(events) - len(rest) + len(gone)
					if n > 0 && (len(lost([][]byte{damaged}, events)) == 0 || len(lost([][]byte{el}, events)) == 0) {
						n-- // still an object, or the object as it was beside what the damage has added
					}
					if fragments += n; n > 0 && fragments < 5 {
						t.Logf("%d fragments of %q:\n%s", n, damaged, brief(items))
					}
				}
				t.Logf("%d bodies, %d lose a neighbour; %d with a bad region, %d fragments delivered", bodies, losses, bad, fragments)
			})
		}
	}
}
