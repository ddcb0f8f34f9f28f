package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
)

// topic is a made-up topic of four partitions and its dead letters.
type topic struct {
	audit *Audit
	next  map[string]int64
	now   int64
}

func newTopic() *topic { return &topic{New("t.dlq"), map[string]int64{}, 1_700_000_000_000} }

func (t *topic) add(name string, partition int32, headers ...string) {
	r := &kafka.Consumed{Partition: partition}
	r.Timestamp = t.now
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, sink.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	at := fmt.Sprint(name, partition)
	r.At = t.next[at]
	t.next[at]++
	t.audit.Add(name, r)
}

// events are numbers of a start, spread over the partitions.
func (t *topic) events(start string, from, to int64, but ...int64) {
	t.now += 1000
next:
	for n := from; n < to; n++ {
		for _, b := range but {
			if n == b {
				continue next
			}
		}
		t.add("t", int32(n%4), kafka.HeaderSeq, fmt.Sprint(start, "-", n), kafka.HeaderInstance, "i")
	}
}

func (t *topic) mark(m kafka.Mark) {
	value, _ := json.Marshal(m)
	r := &kafka.Consumed{Partition: 1}
	r.Value, r.Timestamp = value, t.now
	r.Headers = []sink.Header{{Key: kafka.HeaderMark, Value: []byte("x")}, {Key: kafka.HeaderInstance, Value: []byte("i")}}
	t.audit.Add("t", r)
}

func TestVerdicts(t *testing.T) {
	final := func(n int64) kafka.Mark { return kafka.Mark{Start: "a", Numbers: n, Safe: n, Final: true} }
	for name, c := range map[string]struct {
		play func(*topic)
		want string // of the first start: state missing lost doubled disordered unproven complete
	}{
		"clean":         {func(t *topic) { t.events("a", 0, 100); t.mark(final(100)) }, "closed 0 0 0 0 0 true"},
		"one missing":   {func(t *topic) { t.events("a", 0, 100, 42); t.mark(final(100)) }, "closed 1 0 0 0 0 false"},
		"first missing": {func(t *topic) { t.events("a", 1, 100); t.mark(final(100)) }, "closed 1 0 0 0 0 false"},
		"tail missing":  {func(t *topic) { t.events("a", 0, 90); t.mark(final(100)) }, "closed 10 0 0 0 0 false"},
		"no mark":       {func(t *topic) { t.events("a", 0, 100) }, "open 0 0 0 0 0 false"},
		"only marks":    {func(t *topic) { t.mark(final(100)) }, "closed 100 0 0 0 0 false"},
		"doubled":       {func(t *topic) { t.events("a", 0, 100); t.events("a", 96, 100); t.mark(final(100)) }, "closed 0 0 4 0 0 false"},
		"out of order": {func(t *topic) {
			t.events("a", 0, 90)
			t.events("a", 94, 95)
			t.events("a", 90, 91)
			t.events("a", 91, 94)
			t.mark(final(95))
		}, "closed 0 0 0 1 0 false"},
		"told as dropped": {func(t *topic) { t.events("a", 0, 100, 7, 8); m := final(100); m.Lost = 2; t.mark(m) }, "closed 0 2 0 0 0 false"},
		"more than told":  {func(t *topic) { t.events("a", 0, 100, 7, 8, 9); m := final(100); m.Lost = 2; t.mark(m) }, "closed 1 2 0 0 0 false"},
		"dead letters": {func(t *topic) {
			t.events("a", 0, 100, 7)
			t.add("t.dlq", 0, kafka.HeaderSeq, "a-7")
			t.mark(final(100))
		}, "closed 0 0 0 0 0 true"},
		"set aside, with and without a notice": {func(t *topic) {
			t.events("a", 0, 100, 7, 8)
			t.add("t.dlq", 0, kafka.HeaderSeq, "a-7", kafka.HeaderTruncated, "true")
			m := final(100)
			m.SetAside = 2
			t.mark(m)
		}, "closed 0 0 0 0 0 true"},
		"killed: later numbers were in memory": {func(t *topic) {
			t.events("a", 0, 90)
			t.mark(kafka.Mark{Start: "a", Numbers: 90, Safe: 80})
			t.events("a", 90, 100, 93)
			t.events("b", 0, 1)
		}, "killed 0 0 0 0 1 true"},
		"killed, and a safe one is gone": {func(t *topic) {
			t.events("a", 0, 90, 79)
			t.mark(kafka.Mark{Start: "a", Numbers: 90, Safe: 80})
			t.events("b", 0, 1)
		}, "killed 1 0 0 0 0 false"},
		"killed without a mark": {func(t *topic) { t.events("a", 0, 90); t.events("b", 0, 1) }, "killed 0 0 0 0 0 false"},
		"the next start drops what the first one left on disk": {func(t *topic) {
			t.events("a", 0, 100, 5)
			t.mark(final(100))
			t.events("b", 0, 10)
			t.mark(kafka.Mark{Start: "b", Numbers: 10, Safe: 10, Final: true, Lost: 1})
		}, "closed 0 1 0 0 0 false"},
		"the beginning is gone": {func(t *topic) {
			t.audit.Partial()
			t.mark(kafka.Mark{Start: "a", Numbers: 50, Safe: 40})
			t.events("a", 48, 100)
			t.mark(final(100))
		}, "closed 0 0 0 0 0 true"},
		"the beginning and one more are gone": {func(t *topic) {
			t.audit.Partial()
			t.mark(kafka.Mark{Start: "a", Numbers: 50, Safe: 40})
			t.events("a", 48, 100, 60)
			t.mark(final(100))
		}, "closed 1 0 0 0 0 false"},
	} {
		top := newTopic()
		c.play(top)
		r := top.audit.Report()
		s := r.Starts[0]
		got := fmt.Sprintf("%s %d %d %d %d %d %t", s.State, s.Missing, s.Lost, s.Doubled, s.Disordered, s.Unproven, s.Complete)
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if r.Complete && !s.Complete {
			t.Errorf("%s: the whole is complete, the start is not", name)
		}
		var text bytes.Buffer
		if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "complete: ") {
			t.Errorf("%s: %v\n%s", name, err, &text)
		}
	}
}

// Headers of others are no numbers, and take no memory.
func TestForeignHeaders(t *testing.T) {
	top := newTopic()
	for _, seq := range []string{"", "-", "a", "a-", "a-x", "a--1", "a-99999999999999999999", "a-9999999999999999"} {
		top.add("t", 0, kafka.HeaderSeq, seq)
	}
	top.mark(kafka.Mark{Start: "a", Numbers: 5, Safe: 6})
	if r := top.audit.Report(); r.Complete || len(r.Starts) != 0 || r.Unnumbered != 9 {
		t.Errorf("%+v", r)
	}
}

func TestSet(t *testing.T) {
	var s set
	plain := map[int64]bool{}
	r := rand.New(rand.NewPCG(1, 2))
	const n = 3 * chunkBits
	for range 4 * n {
		v := r.Int64N(n)
		if s.add(v) == plain[v] {
			t.Fatalf("%d: added twice or not at all", v)
		}
		plain[v] = true
	}
	for range 2000 {
		from, to := r.Int64N(n+100), r.Int64N(n+100)
		var want int64
		for v := from; v < to; v++ {
			if plain[v] {
				want++
			}
		}
		if got := s.count(from, to); got != want {
			t.Fatalf("count(%d, %d) = %d, want %d", from, to, got, want)
		}
		var missing int64
		for _, g := range s.gaps(from, to, n) {
			for v := g[0]; v < g[1]; v++ {
				if plain[v] {
					t.Fatalf("%d is in a gap", v)
				}
				missing++
			}
		}
		if from < to && missing != to-from-want {
			t.Fatalf("gaps of [%d, %d) have %d numbers, want %d", from, to, missing, to-from-want)
		}
	}
}

// A dense sequence takes next to nothing: chunks that are full are given back.
func TestDenseSequencesAreSmall(t *testing.T) {
	var s set
	for v := range int64(10_000_000) {
		s.add(v)
	}
	held := 0
	for _, c := range s.chunks {
		if c != nil {
			held++
		}
	}
	if held > 1 || len(s.chunks) > 10_000_000/chunkBits+1 {
		t.Errorf("%d chunks are held of %d", held, len(s.chunks))
	}
}
