package oracle_test

import (
	"bytes"
	"slices"
	"testing"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/oracle"
)

// record is a delivered event.
type record struct {
	partition  int
	key, value []byte
}

// world is a faultless service whose log the tests then spoil.
type world struct {
	oracle   *oracle.Oracle
	payloads []*load.Payload
	log      []record
}

func newWorld(t *testing.T) *world {
	t.Helper()
	payloads, err := load.Profile{Events: 20, Marked: true, Keys: 3}.Build(0)
	if err != nil {
		t.Fatal(err)
	}
	return &world{oracle: oracle.New(1), payloads: payloads}
}

// post sends body i; each status is one attempt. taken says how often the events get into the log.
func (w *world) post(i, taken int, statuses ...int) {
	p := w.payloads[i%len(w.payloads)]
	w.oracle.Stamp(0, p)
	for _, s := range statuses {
		w.oracle.Posted(0, p, s)
	}
	for range taken {
		for e := range p.Events() {
			value := bytes.Clone(p.Event(e))
			_, trace, _ := bytes.Cut(value, []byte(`"traceId":"`))
			w.log = append(w.log, record{p.Key(e), bytes.Clone(trace[:36]), value})
		}
	}
}

func (w *world) judge() *oracle.Report {
	j := w.oracle.Judge()
	for _, r := range w.log {
		j.Message(r.partition, r.key, r.value)
	}
	return j.Report()
}

func TestJudgement(t *testing.T) {
	const n = 20 // events of a body; ten of a key stand together
	for _, c := range []struct {
		name string
		make func(w *world)
		want oracle.Report
	}{
		{"all is well", func(w *world) {
			for i := range 5 {
				w.post(i, 1, 200)
			}
		}, oracle.Report{Sent: 5 * n, Acked: 5 * n, Delivered: 5 * n}},
		{"refused, then taken", func(w *world) { w.post(0, 1, 503, 503, 200) },
			oracle.Report{Sent: n, Acked: n, Delivered: n}},
		{"refused for good", func(w *world) { w.post(0, 0, 413) },
			oracle.Report{Sent: n, Refused: n}},
		{"no answer, not taken", func(w *world) { w.post(0, 0, 0) },
			oracle.Report{Sent: n, Open: n}},
		{"504, taken", func(w *world) { w.post(0, 1, 504) },
			oracle.Report{Sent: n, Open: n, Delivered: n}},
		{"no answer, posted again, both taken", func(w *world) { w.post(0, 2, 0, 200) },
			oracle.Report{Sent: n, Acked: n, Delivered: 2 * n, Repeated: n}},
		{"stamped and never sent", func(w *world) { w.post(0, 0) }, oracle.Report{}},
		{"two lost", func(w *world) {
			w.post(0, 1, 200)
			w.log = slices.Delete(w.log, 3, 5)
		}, oracle.Report{Sent: n, Acked: n, Delivered: n - 2, Lost: 2}},
		{"a body doubled that was posted once", func(w *world) { w.post(0, 2, 200) },
			oracle.Report{Sent: n, Acked: n, Delivered: 2 * n, Doubled: n}},
		{"doubled after an open outcome", func(w *world) { w.post(0, 2, 504) },
			oracle.Report{Sent: n, Open: n, Delivered: 2 * n, Doubled: n}},
		{"refused and there", func(w *world) { w.post(0, 1, 503) },
			oracle.Report{Sent: n, Refused: n, Delivered: n, RefusedDelivered: n}},
		{"two swapped", func(w *world) {
			w.post(0, 1, 200)
			w.log[4], w.log[5] = w.log[5], w.log[4]
		}, oracle.Report{Sent: n, Acked: n, Delivered: n, OutOfOrder: 1}},
		{"an open body behind a later one", func(w *world) {
			w.post(0, 1, 504)
			w.post(len(w.payloads), 1, 200) // the same body, and so the same keys
			w.log = slices.Concat(w.log[n:], w.log[:n])
		}, oracle.Report{Sent: 2 * n, Acked: n, Open: n, Delivered: 2 * n, OpenOutOfOrder: n}},
		{"one byte changed", func(w *world) {
			w.post(0, 1, 200)
			v := w.log[7].value
			v[len(v)-3] ^= 1
		}, oracle.Report{Sent: n, Acked: n, Delivered: n, Damaged: 1}},
		{"foreign records", func(w *world) {
			w.post(0, 1, 200)
			w.log = append(w.log, record{0, nil, []byte("{}")}, record{0, nil, []byte(`{"id":"999999999999"}`)}, record{0, nil, nil})
		}, oracle.Report{Sent: n, Acked: n, Delivered: n + 3, Foreign: 3}},
		{"keys", func(w *world) {
			w.post(0, 1, 200)
			w.log[0].key = nil
			w.log[9].partition = 9
		}, oracle.Report{Sent: n, Acked: n, Delivered: n, WrongKey: 1, SplitKeys: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.make(w)
			got := w.judge()
			bad := got.Faults() > 0 || got.SplitKeys > 0
			if (got.Err() != nil) != bad || bad && len(got.Details) == 0 {
				t.Errorf("Err = %v, details %q", got.Err(), got.Details)
			}
			got.Details = nil
			if got.String() != c.want.String() {
				t.Errorf("got  %v\nwant %v", got, &c.want)
			}
		})
	}
}
