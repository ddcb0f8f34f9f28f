package simulator

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"functiongraph-ingest/pkg/decode"
)

// everything is a configuration with some of everything.
func everything(seed uint64) Config {
	return Config{Seed: seed, Stream: 7, Slips: 0.2, Broken: 0.2, Lines: 0.3, LogTraces: 0.75}
}

// deliveries calls f with the first n deliveries of c.
func deliveries(c Config, n int, f func(d *Delivery)) {
	g := New(c)
	var d Delivery
	for range n {
		g.Next(&d)
		f(&d)
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	all := func(c Config) (out [][]byte) {
		deliveries(c, 200, func(d *Delivery) { out = append(out, bytes.Clone(d.Body)) })
		return out
	}
	same := func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
	c := everything(1)
	first := all(c)
	if !same(first, all(c)) {
		t.Error("the same configuration made other bytes")
	}
	if same(first, all(everything(2))) {
		t.Error("another seed made the same bytes")
	}
	c.Stream++
	if same(first, all(c)) {
		t.Error("another stream made the same bytes")
	}
}

func TestEveryKindSlipAndBreakageOccurs(t *testing.T) {
	kinds, slips, breakages := map[Kind]int{}, map[Slip]int{}, map[Breakage]int{}
	var lines, arrays, lone, keyless, most int
	deliveries(everything(3), 3000, func(d *Delivery) {
		for _, e := range d.Events {
			breakages[e.Broken]++
			if e.Broken != Intact {
				continue
			}
			kinds[e.Kind]++
			slips[e.Slip]++
			if e.Key == "" {
				keyless++
			}
		}
		most = max(most, len(d.Events))
		switch {
		case d.NDJSON:
			lines++
		case d.Body[0] == '[':
			arrays++
		case d.Body[0] == '{':
			lone++
		}
	})
	for k := range numKinds {
		if kinds[k] == 0 {
			t.Errorf("no %s", k)
		}
	}
	for s := range numSlips {
		if slips[s] == 0 {
			t.Errorf("no slip %d", s)
		}
	}
	for b := range numBreakages {
		if breakages[b] == 0 {
			t.Errorf("no %s", b)
		}
	}
	if lines == 0 || arrays == 0 || lone == 0 || keyless == 0 || most < 100 {
		t.Errorf("%d NDJSON, %d arrays, %d lone objects, %d keyless, at most %d events in a body", lines, arrays, lone, keyless, most)
	}
}

// Each body holds what its delivery says, as pkg/decode reads it: kinds and keys in spite of the slips,
// the regions of the broken ones byte for byte.
func TestDecodeFindsWhatTheDeliverySays(t *testing.T) {
	reasons := map[Breakage]map[decode.Reason]bool{}
	var dec decode.Decoder
	var got decode.Event
	deliveries(everything(4), 3000, func(d *Delivery) {
		dec.Reset(d.Body, decode.Options{NDJSON: d.NDJSON})
		for i := range d.Events {
			e := &d.Events[i]
			if !dec.Next(&got) {
				t.Fatalf("%d of %d events in %q", i, len(d.Events), d.Body)
			}
			if !bytes.Equal(got.Raw(), d.Raw(e)) {
				t.Fatalf("%s: region %q, want %q in %q", e.Broken, got.Raw(), d.Raw(e), d.Body)
			}
			if ids := AppendIDs(nil, got.Raw()); !slices.Equal(ids, []ID{e.ID}) {
				t.Fatalf("ids %v, want %v in %q", ids, e.ID, got.Raw())
			}
			if (got.Reason == decode.OK) != (e.Broken == Intact) {
				t.Fatalf("%s is %s: %q", e.Broken, got.Reason, got.Raw())
			}
			if e.Broken != Intact {
				if reasons[e.Broken] == nil {
					reasons[e.Broken] = map[decode.Reason]bool{}
				}
				reasons[e.Broken][got.Reason] = true
				continue
			}
			if !strings.EqualFold(got.Kind.String(), e.Kind.String()) || string(got.Key(nil)) != e.Key {
				t.Fatalf("kind %s key %q, want %s %q: %q", got.Kind, got.Key(nil), e.Kind, e.Key, got.Raw())
			}
			if _, err := got.Start(); err != nil {
				t.Fatalf("start time of %q: %v", got.Raw(), err)
			}
		}
		if dec.Next(&got) {
			t.Fatalf("one more: %q in %q", got.Raw(), d.Body)
		}
	})
	for b, want := range map[Breakage]decode.Reason{
		TrailingComma: decode.BadStructure, UnquotedPodName: decode.BadValue, InvalidUTF8: decode.InvalidUTF8,
		TruncatedBody: decode.Truncated, NotJSON: decode.BadValue,
	} {
		if len(reasons[b]) != 1 || !reasons[b][want] {
			t.Errorf("%s is found as %v, want %s", b, reasons[b], want)
		}
	}
}

// The same with nothing but the standard library: good events are JSON, broken ones are not, and a body
// without broken ones is JSON as a whole.
func TestStandardLibraryAgrees(t *testing.T) {
	deliveries(everything(5), 3000, func(d *Delivery) {
		good, bad := 0, 0
		for i := range d.Events {
			e, raw := &d.Events[i], d.Raw(&d.Events[i])
			if json.Valid(raw) && utf8.Valid(raw) {
				good++
			} else {
				bad++
			}
			if e.Broken != Intact {
				continue
			}
			var object struct {
				EventID string `json:"eventId"`
				TraceID string `json:"traceId"`
			}
			if err := json.Unmarshal(raw, &object); err != nil || object.EventID != e.ID.String() || object.TraceID != e.Key {
				t.Fatalf("%+v of %q, %v", object, raw, err)
			}
		}
		if wantGood, wantBad := d.Count(); good != wantGood || bad != wantBad {
			t.Fatalf("%d good and %d bad, Count says %d and %d: %q", good, bad, wantGood, wantBad, d.Body)
		}
		if bad > 0 {
			return
		}
		body := d.Body
		if d.NDJSON {
			body = append(append([]byte{'['}, bytes.ReplaceAll(body, []byte{'\n'}, []byte{','})...), ']')
		} else if body[0] == '{' {
			body = append(append([]byte{'['}, body...), ']')
		}
		var events []json.RawMessage
		if err := json.Unmarshal(body, &events); err != nil || len(events) != good {
			t.Fatalf("%d events, want %d, %v: %q", len(events), good, err, d.Body)
		}
	})
}

// The account of the demo and of tests rests on this.
func TestIDsAreDenseAndGrowWithinAKey(t *testing.T) {
	next := uint64(0)
	seen := map[uint64]bool{}
	last := map[string]ID{}
	starts := map[string]int{}
	deliveries(everything(6), 3000, func(d *Delivery) {
		for i := range d.Events {
			e := &d.Events[i]
			if e.ID.Stream() != 7 || seen[e.ID.Seq()] {
				t.Fatalf("id %s", e.ID)
			}
			seen[e.ID.Seq()] = true
			next++
			if e.Key == "" {
				continue
			}
			if l, ok := last[e.Key]; ok && l >= e.ID {
				t.Fatalf("key %s: %s behind %s", e.Key, e.ID, l)
			}
			last[e.Key] = e.ID
			if e.Kind == Start {
				starts[e.Key]++
			}
		}
	})
	for i := range next {
		if !seen[i] {
			t.Fatalf("no event %d of %d", i, next)
		}
	}
	for key, n := range starts {
		if n != 1 {
			t.Errorf("invocation %s starts %d times", key, n)
		}
	}
}

func TestLimitsAreKept(t *testing.T) {
	c := Config{Seed: 8, Concurrency: 3, MaxEvents: 5}
	g := New(c)
	var d Delivery
	for range 1000 {
		g.Next(&d)
		if len(g.open) > c.Concurrency || len(d.Events) > c.MaxEvents || d.Body[0] != '[' {
			t.Fatalf("%d invocations at once, %d events in %q", len(g.open), len(d.Events), d.Body)
		}
		if good, bad := d.Count(); good == 0 || bad != 0 {
			t.Fatalf("%d good, %d bad", good, bad)
		}
	}
}

func TestAppendIDs(t *testing.T) {
	for _, tt := range []struct {
		raw  string
		want []ID
	}{
		{"", nil},
		{"evt-", nil},
		{"evt-000000000000000", nil},
		{"xevt-000700000000000ay", []ID{makeID(7, 10)}},
		{"evt-zzzzzzzzzzzzzzzz evt-0000000000000001", []ID{1}},
		{makeID(1, 2).String() + makeID(3, 4).String(), []ID{makeID(1, 2), makeID(3, 4)}},
	} {
		if got := AppendIDs(nil, []byte(tt.raw)); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.raw, got, tt.want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	b.ReportAllocs()
	g := New(Config{Slips: 0.05, Broken: 0.01, Lines: 0.1})
	var d Delivery
	events := 0
	for b.Loop() {
		g.Next(&d)
		events += len(d.Events)
		b.SetBytes(int64(len(d.Body)))
	}
	b.ReportMetric(float64(events)/float64(b.N), "events/op")
}

// Three quarters of the function's lines had a traceId, which the reference gives to none of them: what was tested and
// measured with them was kinder than the platform.
func TestFunctionLogsHaveNoTraceIDUnlessAsked(t *testing.T) {
	for share, want := range map[float64]func(keyed, all int) bool{
		0:   func(keyed, _ int) bool { return keyed == 0 },
		0.5: func(keyed, all int) bool { return keyed > all/4 && keyed < all*3/4 },
		1:   func(keyed, all int) bool { return keyed == all },
	} {
		keyed, all := 0, 0
		deliveries(Config{Seed: 9, LogTraces: share}, 500, func(d *Delivery) {
			for i := range d.Events {
				switch e := &d.Events[i]; {
				case e.Kind == Function:
					all++
					if e.Key != "" {
						keyed++
					}
				case e.Kind == Extension && e.Key != "", e.Kind != Extension && e.Key == "":
					t.Fatalf("a %s with the key %q", e.Kind, e.Key)
				}
			}
		})
		if all < 1000 || !want(keyed, all) {
			t.Errorf("share %v: %d of %d lines have a traceId", share, keyed, all)
		}
	}
}
