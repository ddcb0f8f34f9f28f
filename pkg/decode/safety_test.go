package decode

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"unsafe"
)

func TestNoAllocations(t *testing.T) {
	bad := heavy.elements(newRand(9), 60)
	for i := range bad {
		if i%3 == 0 {
			bad[i] = append(bad[i][:len(bad[i])-1], ",}"...)
		}
	}
	ndjson := bytes.Join(light.elements(newRand(8), 60), []byte("\n"))
	heavyBody, _ := heavy.body(64 << 10)
	chineseBody, _ := chinese.body(64 << 10)
	samples := []byte(`[{" NAME ":"Platform.RUNTIMEDONE , ","traceid":"\u0061b","\u006cogs":"\n","metrics":{"durationMs":1.5,"memorySize":12,"podName":"p"}},{"x":[{}]}]`)
	for i, body := range [][]byte{heavyBody, chineseBody, array(bad), ndjson, samples} {
		both(t, func(t *testing.T, o Options) {
			var d Decoder
			var e Event
			var m Metrics
			key := make([]byte, 0, 64)
			logs := make([]byte, 0, 4096)
			o.NDJSON = i == 3
			n := testing.AllocsPerRun(20, func() {
				d.Reset(body, o)
				for d.Next(&e) {
					if e.Reason != OK {
						continue
					}
					e.Key(key)
					logs, _ = e.AppendLogs(logs[:0])
					_, _ = e.Start()
					if e.RawMetrics() != nil {
						m.PodName = "p"
						if i == 4 && e.Metrics(&m) != nil {
							t.Fatal("metrics")
						}
					}
				}
			})
			if n != 0 {
				t.Errorf("body %d: %v allocations", i, n)
			}
		})
	}
}

// The event is what the hot path copies and clears: it must not grow unnoticed.
func TestEventIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Event{}); n > 96 {
		t.Errorf("%d bytes", n)
	}
}

func TestViewsAreClipped(t *testing.T) {
	body := []byte(`[{"name":"function","traceId":"abc","logs":"x"}]`)
	var d Decoder
	var e Event
	d.Reset(body, Options{})
	if !d.Next(&e) {
		t.Fatal("no event")
	}
	for _, v := range [][]byte{e.Raw(), e.Name(), e.TraceID(), e.Key(nil), e.Logs()} {
		if cap(v) != len(v) {
			t.Errorf("%q has room for %d bytes of its neighbours", v, cap(v)-len(v))
		}
	}
	if &e.Key(make([]byte, 0, 64))[0] != &e.TraceID()[0] {
		t.Error("a key without escapes was copied")
	}
}

// bodiesOf are short bodies of every length, and what their ends cut.
func bodiesOf(n int, f func(body []byte)) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 20)
	for _, c := range []struct{ head, tail string }{
		{`[{"logs":"`, `"}]`}, {`[{"logs":"`, ""}, {`[{"logs":"`, `\`}, {`[{"logs":"`, `\u12`}, {`{"a":[1,"`, `"],"b":tru`}, {`{"a":"`, `","b":n`},
		{`{"metrics":{"durationMs":1,"p":"`, `","podName":"`}, {`{"`, `":f`}, {`{"`, ""}, {`[{"a":"`, `"},{"name":"function`}, {`{"a":"`, `","startTime":"2023`},
		{`{"a":"`, `","b":12345`}, {`{"a":"`, "\xe6\x97"}, {`[{"a":x,"b":"`, `"},{"na`},
	} {
		if fill := n - len(c.head) - len(c.tail); fill >= 0 {
			f(fmt.Appendf(nil, "%s%s%s", c.head, long[:fill], c.tail))
		}
	}
	whole := array(small.elements(newRand(2), 2))
	if n <= len(whole) {
		f(bytes.Clone(whole[:n]))
		f(bytes.Clone(whole[len(whole)-n:]))
	}
}

func TestBytesBehindTheBodyDoNotMatter(t *testing.T) {
	for n := range 300 {
		bodiesOf(n, func(body []byte) {
			for _, o := range []Options{{}, {Lenient: true}, {NDJSON: true}} {
				want, notes := run(t, slices.Clip(body), o)
				for _, behind := range []string{`"}]` + string(make([]byte, 80)), `ull,ull,ull,"x":"y"}]}]}]}]}]`, `\u0041"}` + string(bytes.Repeat([]byte{'"'}, 80))} {
					got, notes2 := run(t, append(bytes.Clone(body), behind...)[:n], o)
					if !slices.Equal(want, got) || notes != notes2 {
						t.Fatalf("%q: %v, with %q behind it %v", body, want, behind, got)
					}
				}
			}
		})
	}
}

// sonic's Skip takes some unterminated strings for good ones; skip must not.
func TestUnterminatedStringIsNotGood(t *testing.T) {
	for n := 2; n < 200; n++ {
		for x := 1; x+1 < n; x++ {
			text := append([]byte{'"'}, bytes.Repeat([]byte("a"), n)...)
			text[x], text[x+1] = '\\', '"'
			if end := skip(text, 0); end >= 0 {
				t.Fatalf("%q: %d", text, end)
			}
		}
	}
}

// sonic's Skip and the Go scanner agree on what they accept, and where it ends.
func TestSkipAgrees(t *testing.T) {
	if !Native {
		t.Skip("no native code in this build")
	}
	r := newRand(21)
	pieces := []string{`{`, `}`, `[`, `]`, `,`, `:`, `"`, `"a"`, `"b":`, `1`, `-`, `0`, `.`, `e5`, `true`, `false`, `null`, ` `, "\n", `\`, `\"`, `\u12`, "\x00", "\xff", `{}`, `[]`, `"x":1`}
	for range 20_000 {
		b := []byte(pieces[[]int{0, 2, 6}[r.IntN(3)]])
		for n := r.IntN(12); n > 0; n-- {
			b = append(b, pieces[r.IntN(len(pieces))]...)
		}
		skipAgrees(t, append(b, "        "...), 0)
	}
	for range 4_000 { // near misses of good ones
		b := generic(r, 1)[0]
		b = mutations[r.IntN(4)].do(b, r.IntN(len(b)), nasty[r.IntN(len(nasty))])
		for p, c := range b {
			if c == '"' || c == '{' || c == '[' {
				skipAgrees(t, b, p)
			}
		}
	}
}
