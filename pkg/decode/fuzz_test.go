package decode

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func seeds(f *testing.F) [][]byte {
	samples, err := os.ReadFile("testdata/samples.json")
	if err != nil {
		f.Fatal(err)
	}
	s := [][]byte{samples, nil, []byte("[]"), []byte("{}"), array(heavy.elements(newRand(1), 3)), array(chinese.elements(newRand(2), 3)),
		array(generic(newRand(3), 2)), []byte(`[{" NAME ":"Platform.RUNTIMEDONE , ","traceid":"\u0061\ud800 b ","\u006cogs":"\n"},7,{}]`),
		[]byte("{\"name\":\"function\"}\n{\"name\":\n"), []byte(`[{"a":[1,-0.5e+3,true,false,null,"\\\"\u00e9"],"traceId":5},{"traceId":"x","traceId":null}]`),
		[]byte(`[{"reportMetrics":{"durationMs":10.6," memorySize ":128,"podName":"p"}}]`), []byte(`[{"a":"` + strings.Repeat(`é\u00e9`, 30) + `"}]`)}
	return s
}

// reference is what encoding/json says about a valid object, in the form of item.fields.
func reference(t *testing.T, raw []byte) (Kind, string) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	kind := Unknown
	values := map[string]json.RawMessage{} // the last one of each key
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		k := strings.Map(asciiLower, trimmedString(key.(string)))
		if k == "reportmetrics" {
			k = "metrics"
		}
		values[k] = v
	}
	text := func(k string) (raw, value string) {
		v := values[k]
		if len(v) == 0 || v[0] != '"' {
			return "", ""
		}
		if err := json.Unmarshal(v, &value); err != nil {
			t.Fatal(err)
		}
		return trimmedString(string(v[1 : len(v)-1])), trimmedString(value)
	}
	_, name := text("name")
	name = strings.TrimRight(strings.Map(asciiLower, name), ",\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	for k := InitStart; k <= Extension; k++ {
		if strings.Map(asciiLower, k.String()) == name {
			kind = k
		}
	}
	key := "none"
	if _, id := text("traceid"); id != "" {
		key = id
	}
	field := func(k string) string { raw, _ := text(k); return raw }
	return kind, joined(field("name"), field("traceid"), key, field("starttime"), field("endtime"), field("status"), field("logs"),
		string(values["metrics"]))
}

func asciiLower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

func trimmedString(s string) string { return string(trim([]byte(s))) }

// FuzzEqualsEncodingJSON: a body that encoding/json takes yields exactly its elements with exactly their
// fields; a body that it does not take never comes out as if nothing were wrong.
func FuzzEqualsEncodingJSON(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		items, notes := run(t, body, Options{})
		clean := !notes.Any()
		for _, it := range items {
			if it.reason == TooDeep {
				return
			}
			if it.reason != OK && it.reason != NotObject {
				clean = false
			}
		}
		rest := bytes.TrimLeft(body, " \t\r\n")
		if len(rest) == 0 {
			if len(items) > 0 || !clean {
				t.Fatalf("%v of blanks", lines(items))
			}
			return
		}
		if rest[0] != '[' && (len(items) != 1 || items[0].raw != string(bytes.TrimRight(rest, " \t\r\n"))) {
			clean = false // a value, and more
		}
		if valid := json.Valid(body) && utf8.Valid(body); valid != clean {
			t.Fatalf("valid %v: %v %+v", valid, lines(items), notes)
		} else if !valid {
			return
		}
		elements := []json.RawMessage{bytes.TrimRight(rest, " \t\r\n")}
		if rest[0] == '[' {
			if err := json.Unmarshal(body, &elements); err != nil {
				t.Fatal(err)
			}
		}
		if len(elements) != len(items) {
			t.Fatalf("%d elements: %v", len(elements), lines(items))
		}
		for i, el := range elements {
			it := items[i]
			if it.raw != string(el) || (it.reason == OK) != (el[0] == '{') {
				t.Fatalf("%v, want %s", it, el)
			}
			if it.reason != OK || len(el) > maxFold && hasEscape(el) { // longer escaped keys are not looked at
				continue
			}
			if kind, fields := reference(t, el); kind != it.kind || fields != it.fields {
				t.Fatalf("%s\n got %v %s\nwant %v %s", el, it.kind, it.fields, kind, fields)
			}
			logsEqual(t, el)
		}
	})
}

// logsEqual compares AppendLogs with encoding/json.
func logsEqual(t *testing.T, el []byte) {
	var d Decoder
	var e Event
	d.Reset(el, Options{})
	d.Next(&e)
	var m Metrics
	_ = e.Metrics(&m)
	_, _ = e.Start()
	logs := e.at[fieldLogs]
	if logs.s == 0 {
		return
	}
	var want string
	if err := json.Unmarshal(el[logs.s-1:logs.e+1], &want); err != nil {
		t.Fatal(err)
	}
	if got, err := e.AppendLogs([]byte(">")); err != nil || string(got) != ">"+want {
		t.Fatalf("%v: logs %q, want %q", err, got, want)
	}
}

// FuzzNoPanicLinear: whatever the body, no panic, every byte accounted for, the budget of resync kept (run),
// and the answer does not depend on what lies behind the body in memory.
func FuzzNoPanicLinear(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, []byte(`"},{"name":"x"}]`))
	}
	f.Fuzz(func(t *testing.T, body, behind []byte) {
		for _, o := range []Options{{}, {Lenient: true}, {NDJSON: true}, {NDJSON: true, Lenient: true}} {
			want, notes := run(t, slices.Clip(body), o)
			again, notes2 := run(t, append(bytes.Clone(body), behind...)[:len(body)], o)
			if !slices.Equal(want, again) || notes != notes2 {
				t.Fatalf("%v %+v, with %q behind the body %v %+v", want, notes, behind, again, notes2)
			}
		}
	})
}

// FuzzNoNeighbourLost: one wrong byte in one event costs no other one.
func FuzzNoNeighbourLost(f *testing.F) {
	f.Add(uint64(1), byte(0), uint16(20), byte(0), byte('"'))
	f.Add(uint64(2), byte(1), uint16(0), byte(1), byte('{'))
	f.Add(uint64(3), byte(2), uint16(0), byte(2), byte('['))
	f.Add(uint64(4), byte(7), uint16(150), byte(3), byte(0))
	f.Add(uint64(5), byte(4), uint16(9), byte(2), byte('\\'))
	f.Fuzz(func(t *testing.T, seed uint64, k byte, x uint16, mode, c byte) {
		r := newRand(seed)
		elements := append(shapes[:len(shapes):len(shapes)], shape{"chinese", chinese.elements})[seed%6].elements
		els := elements(r, 3+r.IntN(9))
		i := int(k) % len(els)
		rest := append(append([][]byte{}, els[:i]...), els[i+1:]...)
		els[i] = mutations[int(mode)%len(mutations)].do(bytes.Clone(els[i]), int(x)%len(els[i]), c)
		items, _ := run(t, array(els), Options{Lenient: seed&8 != 0})
		if gone := lost(rest, good(items)); len(gone) > 0 {
			t.Fatalf("%d lost next to %q:\n%s", len(gone), els[i], brief(items))
		}
	})
}

// FuzzScannersAgree: sonic's Skip, the vector scanner and the plain Go scanner say the same about every
// string, object and array in a body.
func FuzzScannersAgree(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for p, c := range body {
			if c == '"' {
				if got, want := strictString(body, p+1), strictGo(body, p+1); got != want {
					t.Fatalf("strictString %d, strictGo %d at %d", got, want, p)
				}
			}
			if c == '{' {
				if end := flatObject(body, p); end > 0 {
					if want, _, _ := validate(body, p, MaxDepth-1, false); want != end {
						t.Fatalf("flatObject %d, validate %d at %d", end, want, p)
					}
				}
			}
			if c == '"' || c == '{' || c == '[' {
				skipAgrees(t, body, p)
			}
		}
	})
}

func skipAgrees(t *testing.T, b []byte, p int) {
	t.Helper()
	if !Native || len(b)-p < 8 || len(b)-p > 64<<10 {
		return
	}
	want, off, r := validate(b, p, MaxDepth-1, true)
	if got := skip(b, p); got != want && r != TooDeep && want != len(b) {
		t.Fatalf("skip %d, validate %d (%v at %d) at %d of %q", got, want, r, off, p, b)
	}
}
