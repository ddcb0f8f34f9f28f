package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// first is the first event or bad region of a body.
func first(t *testing.T, body string, o Options) *Event {
	t.Helper()
	var d Decoder
	e := new(Event)
	d.Reset([]byte(body), o)
	if !d.Next(e) {
		t.Fatalf("nothing in %q", body)
	}
	return e
}

func TestFieldKey(t *testing.T) {
	long := strings.Repeat("k", MaxTraceID)
	for _, tt := range []struct{ body, want string }{
		{`{"id":"a"}`, "a"},
		{`[ { "x" : {"id":"no"} , "y":["id",{"id":"no"}], "id" : "a" } ]`, "a"},
		{`{"id":"a","id":"b"}`, "b"},
		{`{"id":"a","id":true}`, ""},
		{`{"id":42}`, "42"},
		{`{"id":-1.50e3 }`, "-1.50e3"},
		{`{"id":" a "}`, " a "},
		{`{"id":""}`, ""},
		{`{"id":null}`, ""},
		{`{"id":{"id":"no"}}`, ""},
		{`{"id":["no"]}`, ""},
		{`{"ID":"no","iD":"no","id ":"no","idx":"no","i":"no"}`, ""},
		{`{"\u0069\u0064":"a"}`, "a"},
		{`{"id":"\u00e4\n\"x"}`, "ä\n\"x"},
		{`{"traceId":"no","name":"id","logs":"{\"id\":\"no\"}"}`, ""},
		{`{"name":"function","traceId":"t","logs":"}","id":"a"}`, "a"},
		{`{}`, ""},
		{"[{\"id\":\"a\"}]\n[{\"id\":\"b\"}]", "a"},
		{`{"id":"` + long + `"}`, long},
		// Bad regions.
		{`[{"id":"a",}]`, "a"},
		{`[{"id":"a","x":nil},{"id":"b"}]`, "a"},
		{`[{"id":"a","x":{"id":"b"},}]`, ""},
		{`[{"id":1,}]`, ""},
		{`[{"id":"` + long + `",}]`, ""},
	} {
		for _, o := range []Options{{}, {Lenient: true}, {NDJSON: true}} {
			e := first(t, tt.body, o)
			if e.Reason != OK && o != (Options{}) {
				continue
			}
			key := e.FieldKey("id", nil)
			if string(key) != tt.want || (key == nil) != (tt.want == "") || cap(key) != len(key) && !strings.Contains(tt.body, `\`) {
				t.Errorf("%.80s, %+v: key %.80q, want %.80q", tt.body, o, key, tt.want)
			}
		}
	}
}

func TestFieldKeyHasABound(t *testing.T) {
	long := strings.Repeat("k", MaxTraceID+1)
	for _, body := range []string{`[{"id":"` + long + `"},{"b":1}]`, `[{"id":1` + strings.Repeat("0", MaxTraceID) + `},{"b":1}]`} {
		e := first(t, body, Options{})
		if key := e.FieldKey("id", nil); key != nil || e.Reason != LongTraceID || e.ErrorOffset() < e.Offset() || e.ErrorOffset() >= e.Offset()+len(e.Raw()) {
			t.Errorf("key of %d bytes, reason %s, error at %d", len(key), e.Reason, e.ErrorOffset())
		}
		if key := e.FieldKey("id", nil); key != nil {
			t.Errorf("the dead letter has a key of %d bytes", len(key))
		}
	}
}

// The same as the standard library finds, for every field of many events; and without allocations where nothing is escaped.
func TestFieldKeyAgreesWithTheStandardLibrary(t *testing.T) {
	for _, p := range []profile{heavy, light, small, chinese} {
		body, n := p.body(64 << 10)
		var d Decoder
		var e Event
		seen := 0
		for d.Reset(body, Options{}); d.Next(&e); seen++ {
			var want map[string]any
			dec := json.NewDecoder(bytes.NewReader(e.Raw()))
			dec.UseNumber()
			if err := dec.Decode(&want); err != nil {
				t.Fatal(err)
			}
			want["absent"] = nil
			for name, v := range want {
				text := ""
				switch v.(type) {
				case string, json.Number:
					text = fmt.Sprint(v)
				}
				if got := e.FieldKey(name, nil); string(got) != text {
					t.Fatalf("%s of %s: %q", name, e.Raw(), got)
				}
			}
		}
		if seen != n {
			t.Errorf("%d events, want %d", seen, n)
		}
	}
	e := first(t, `{"name":"function","a":{"b":[1,2,{"c":"d"}]},"logs":"a\nb","id":"x"}`, Options{})
	if n := testing.AllocsPerRun(100, func() { e.FieldKey("id", nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzFieldKey(f *testing.F) {
	for _, s := range []string{`[{"id":"a"},{"id":1,}]`, `{"id":"\ud800","x":[{}]}`, "{\"id\":\"a\"}\n[{\"id\":2}]", `[{"id":"a","id`} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, ndjson bool) {
		for _, lenient := range []bool{false, true} {
			var d Decoder
			var e Event
			for d.Reset(body, Options{NDJSON: ndjson, Lenient: lenient}); d.Next(&e); {
				key := e.FieldKey("id", nil)
				if len(key) > MaxTraceID || key != nil && len(key) == 0 {
					t.Fatalf("key %q", key)
				}
				if lenient || e.Reason != OK {
					continue
				}
				var v struct{ Rest map[string]any }
				if json.Unmarshal(e.Raw(), &v.Rest) != nil {
					t.Fatalf("a good event is no JSON: %q", e.Raw())
				}
				if s, ok := v.Rest["id"].(string); ok && s != string(key) {
					t.Fatalf("%q: key %q, want %q", e.Raw(), key, s)
				}
			}
		}
	})
}
