package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
)

// topic is a made-up topic of four partitions and its dead letters.
type topic struct {
	audit *Audit
	next  map[string]int64
	now   int64

	failed error // of the last record
}

func newTopic() *topic {
	return &topic{audit: New("t.dlq", time.Time{}), next: map[string]int64{}, now: 1_700_000_000_000}
}

// id is the id of a start that has the name.
func id(name string) string { return name + strings.Repeat("2", 13-len(name)) }

// add adds a record. A number may have a short name of its start.
func (t *topic) add(name string, partition int32, headers ...string) {
	r := &kafka.Consumed{Partition: partition}
	r.Timestamp = t.now
	for i := 0; i < len(headers); i += 2 {
		value := headers[i+1]
		if start, no, ok := strings.Cut(value, "-"); ok && len(start) == 1 {
			value = id(start) + "-" + no
		}
		r.Headers = append(r.Headers, sink.Header{Key: headers[i], Value: []byte(value)})
	}
	at := fmt.Sprint(name, partition)
	r.At = t.next[at]
	t.next[at]++
	t.failed = t.audit.Add(name, r)
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
	m.Start = id(m.Start)
	value, _ := json.Marshal(m)
	r := &kafka.Consumed{Partition: 1}
	r.Value, r.Timestamp = value, t.now
	r.Headers = []sink.Header{{Key: kafka.HeaderMark, Value: []byte("x")}, {Key: kafka.HeaderInstance, Value: []byte("i")}}
	t.failed = t.audit.Add("t", r)
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
		"several topics": {func(t *topic) {
			for _, at := range []struct {
				topic string
				n     []int
			}{{"t", []int{0, 3, 9}}, {"t2", []int{1, 2, 8}}, {"t3", []int{4, 5, 6, 7}}} {
				for _, n := range at.n {
					t.add(at.topic, 0, kafka.HeaderSeq, fmt.Sprint("a-", n))
				}
			}
			t.mark(final(10))
		}, "closed 0 0 0 0 0 true"},
		"several topics, one of them not read": {func(t *topic) {
			t.add("t", 0, kafka.HeaderSeq, "a-0")
			t.add("t2", 0, kafka.HeaderSeq, "a-2")
			t.mark(final(3))
		}, "closed 1 0 0 0 0 false"},
		"the same event in two topics": {func(t *topic) {
			t.add("t", 0, kafka.HeaderSeq, "a-0")
			t.add("t2", 0, kafka.HeaderSeq, "a-0")
			t.mark(final(1))
		}, "closed 0 0 1 0 0 false"},
		"out of order in the second topic": {func(t *topic) {
			t.add("t", 0, kafka.HeaderSeq, "a-3")
			t.add("t2", 0, kafka.HeaderSeq, "a-2")
			t.add("t2", 0, kafka.HeaderSeq, "a-1")
			t.add("t2", 0, kafka.HeaderSeq, "a-0")
			t.mark(final(4))
		}, "closed 0 0 0 2 0 false"},
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
			t.audit.Partial("t", 1, false)
			t.mark(kafka.Mark{Start: "a", Numbers: 50, Safe: 40})
			t.events("a", 48, 100)
			t.mark(final(100))
		}, "closed 0 0 0 0 0 true"},
		"the beginning and one more are gone": {func(t *topic) {
			t.audit.Partial("t", 1, false)
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
	foreign := []string{
		"", "-", "a", "a-", "a-x", "a--1", "a-99999999999999999999", "a-9999999999999999", "a-+5", "a-05", "a- 5", "a-5 ", "a-5-6", "a-\xff",
		"order-17", "123e4567-e89b-12d3-a456-426614174000", "AAAAAAAAAAAAA-5", "aaaaaaaaaaaa1-5", "aaaaaaaaaaaaaa-5", "aaaaaaaaaaaaa5", // of other CloudEvents
	}
	for _, seq := range foreign {
		top.add("t", 0, kafka.HeaderCloudEventID, seq)
	}
	top.mark(kafka.Mark{Start: "a", Numbers: 5, Safe: 6})
	top.mark(kafka.Mark{Start: "a", Numbers: -1, Safe: -1})
	for _, value := range []string{"", "{}", "[]", "null", `{"start":"order","numbers":5}`} {
		r := &kafka.Consumed{}
		r.Value, r.Headers = []byte(value), []sink.Header{{Key: kafka.HeaderMark}, {Key: kafka.HeaderMark, Value: []byte("final")}}
		if err := top.audit.Add("t", r); err != nil {
			t.Fatal(err)
		}
	}
	if r := top.audit.Report(); r.Complete || len(r.Starts) != 0 || r.Unnumbered != int64(len(foreign)+2+5) {
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

// Numbers that are spread over topics and partitions, which are read one after the other, take a bit each until all of them
// are read.
func TestMemoryOfNumbersThatAreSpread(t *testing.T) {
	const n, spread = 2_000_000, 8
	before := heap()
	a := New("t.dlq", time.Time{})
	r := &kafka.Consumed{Record: sink.Record{Headers: []sink.Header{{Key: kafka.HeaderSeq}}}}
	most := int64(0)
	for part := range int64(spread) {
		r.Partition = int32(part % 4)
		for v := part; v < n; v += spread {
			r.Headers[0].Value = strconv.AppendInt(append(r.Headers[0].Value[:0], id("a")+"-"...), v, 10)
			if err := a.Add([]string{"t", "t2"}[part/4], r); err != nil {
				t.Fatal(err)
			}
		}
		if part == spread-2 { // nothing is dense yet
			most = heap()
		}
	}
	end := heap()
	if s := a.starts[id("a")]; s.seen.size != n || s.Doubled+s.Disordered != 0 {
		t.Errorf("%+v", s.Start)
	}
	t.Logf("%d numbers: %d bytes before the last partition is read, %d behind it; %d are counted", n, most-before, end-before, maxBytes-a.most)
	if most-before > n/8*5/4+64<<10 || end-before > 128<<10 || maxBytes-a.most > 64<<10 {
		t.Error("that is more than a bit each")
	}
	runtime.KeepAlive(a)
}

// heap is what is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// base32ID is the id of a start that is made of a number.
func base32ID(i int64) string {
	digits := []byte(id(""))
	for at := len(digits) - 1; i > 0; at, i = at-1, i/32 {
		digits[at] = "abcdefghijklmnopqrstuvwxyz234567"[i%32]
	}
	return string(digits)
}

// A topic may hold anything: numbers that are far apart, starts without end. The memory has a bound, and the error says what
// to do.
func TestMemoryOfForeignNumbers(t *testing.T) {
	for name, id := range map[string]func(i int64) string{
		"far apart": func(i int64) string { return fmt.Sprint("a-", i*chunkBits) },
		"starts":    func(i int64) string { return base32ID(i) + "-0" },
	} {
		top := newTopic()
		top.audit.most = 16 << 20
		before := heap()
		for i := int64(0); top.failed == nil && i < 1_000_000; i++ {
			top.add("t", 0, kafka.HeaderSeq, id(i))
		}
		if grown := heap() - before; !errors.Is(top.failed, ErrTooMuch) || grown > 20<<20 {
			t.Errorf("%s: %v, %d bytes", name, top.failed, grown)
		}
		runtime.KeepAlive(top)
	}
}

// What lies outside the range that was asked for is neither missing nor proven.
func TestRanges(t *testing.T) {
	mark := func(numbers, safe int64) kafka.Mark { return kafka.Mark{Start: "a", Numbers: numbers, Safe: safe} }
	const base = 1_700_000_000_000
	for name, c := range map[string]struct {
		until int64 // seconds behind base; 0: to the end
		play  func(*topic)
		want  string // of all starts: state from-proven missing complete; then the verdict
	}{
		"it runs on": {2, func(t *topic) {
			t.events("a", 0, 50)
			t.events("a", 50, 90)
			t.mark(mark(90, 70))
		}, "continued 0-90 0 true; true"},
		"it runs on, and one is missing": {2, func(t *topic) {
			t.events("a", 0, 50, 42)
			t.events("a", 50, 90)
			t.mark(mark(90, 70))
		}, "continued 0-90 1 false; false"},
		"one is in memory yet": {2, func(t *topic) {
			t.events("a", 0, 50)
			t.events("a", 50, 90, 71)
			t.mark(mark(90, 70))
		}, "open 0-70 0 false; false"},
		"the tail is cut off": {2, func(t *topic) {
			t.events("a", 0, 50)
			t.mark(mark(50, 50))
			t.events("a", 50, 90)
		}, "open 0-50 0 false; false"},
		"what is older stands behind what is younger": {2, func(t *topic) {
			t.events("a", 0, 49)
			t.events("b", 0, 90)
			t.mark(kafka.Mark{Start: "b", Numbers: 90, Safe: 90, Final: true})
			t.now -= 2000
			t.events("a", 49, 50)
			t.now += 2000
			t.mark(mark(50, 50))
		}, "continued 0-50 0 true; true"},
		"a record comes again behind the range": {2, func(t *topic) {
			t.events("a", 0, 50)
			t.mark(mark(50, 50))
			t.events("a", 40, 50)
			t.mark(kafka.Mark{Start: "a", Numbers: 50, Safe: 50, Final: true})
		}, "closed 0-50 0 true; true"},
		"a record comes again within the range": {3, func(t *topic) {
			t.events("a", 0, 50)
			t.events("a", 49, 50)
			t.mark(kafka.Mark{Start: "a", Numbers: 50, Safe: 50, Final: true})
		}, "closed 0-50 0 false; false"},
		"a start behind the range is not listed": {2, func(t *topic) {
			t.events("a", 0, 50)
			t.mark(kafka.Mark{Start: "a", Numbers: 50, Safe: 50, Final: true})
			t.events("b", 0, 90, 7)
		}, "closed 0-50 0 true; true"},
		"offsets: the inner part": {0, func(t *topic) {
			t.audit.Cut("t", 0, true, true)
			t.audit.Cut("t", 2, true, true)
			t.events("a", 20, 80)
		}, "continued 22-77 0 true; true"},
		"offsets: one is missing within": {0, func(t *topic) {
			t.audit.Cut("t", 0, true, true)
			t.events("a", 20, 80, 41)
		}, "continued 20-77 1 false; false"},
		"offsets: the tail": {0, func(t *topic) {
			t.audit.Cut("t", 0, true, false)
			t.events("a", 20, 80, 0)
			t.mark(kafka.Mark{Start: "a", Numbers: 80, Safe: 80, Final: true})
		}, "closed 20-80 0 true; true"},
		"offsets: the tail is cut off": {0, func(t *topic) {
			t.audit.Cut("t", 0, true, false)
			t.events("a", 20, 80)
			t.mark(kafka.Mark{Start: "a", Numbers: 90, Safe: 90, Final: true})
		}, "closed 20-90 10 false; false"},
		"offsets: nothing of it in a range": {0, func(t *topic) {
			t.audit.Cut("t", 5, true, true)
			t.events("a", 20, 80)
		}, "continued 0-0 0 true; false"},
	} {
		top := newTopic()
		if c.until != 0 {
			top.audit.until = time.UnixMilli(base + c.until*1000)
		}
		c.play(top)
		r := top.audit.Report()
		got := ""
		for _, s := range r.Starts {
			got += fmt.Sprintf("%s %d-%d %d %t; ", s.State, s.From, s.Proven, s.Missing, s.Complete)
		}
		if got += fmt.Sprint(r.Complete); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if err := r.WriteJSON(io.Discard); err != nil {
			t.Error(err)
		}
	}
}

// The instance stands in a header of its own with marks and dead letters, and in ce_source with CloudEvents: a start is the
// successor of another one whichever comes first.
func TestInstancesOfCloudEvents(t *testing.T) {
	top := newTopic()
	top.add("t", 0, kafka.HeaderCloudEventID, "a-0", kafka.HeaderCloudEventSource, "/functiongraph/f%2F1/$LATEST/i")
	top.mark(kafka.Mark{Start: "a", Numbers: 1, Safe: 1})
	top.now += 1000
	top.mark(kafka.Mark{Start: "b", Numbers: 1, Safe: 1, Final: true})
	top.add("t", 0, kafka.HeaderCloudEventID, "b-0", kafka.HeaderCloudEventSource, "/functiongraph/i")
	if r := top.audit.Report(); !r.Complete || r.Starts[0].State != Killed || r.Starts[1].Instance != "i" {
		t.Errorf("%+v", r)
	}
}

// With --timestamp=event a record is as old as its event, and the second start of an instance may take older events than
// the first one did. Marks have the time at which they were made, and say which start was killed.
func TestKilledWithTimestampsOfEvents(t *testing.T) {
	top := newTopic()
	top.events("a", 0, 4)
	top.mark(kafka.Mark{Start: "a", Numbers: 4, Safe: 4})
	top.now -= 3_600_000
	top.events("b", 0, 4)
	top.now += 3_660_000
	top.mark(kafka.Mark{Start: "b", Numbers: 4, Safe: 4})
	r := top.audit.Report()
	if len(r.Starts) != 2 || r.Starts[0].ID != id("a") || r.Starts[0].State != Killed || r.Starts[1].State != Open {
		t.Errorf("%+v", r.Starts)
	}
}

// Timestamps are what a producer writes: none of them makes a time that JSON cannot have.
func TestAnyTimestamp(t *testing.T) {
	for _, ms := range []int64{-1, math.MinInt64, math.MaxInt64, 253402300800000} {
		top := newTopic()
		top.now = ms
		top.add("t", 0, kafka.HeaderSeq, "a-0")
		top.audit.Partial("t", 0, true)
		if err := top.audit.Report().WriteJSON(io.Discard); err != nil {
			t.Errorf("%d: %v", ms, err)
		}
	}
}

// Retention leaves the partitions with different beginnings. The audit says from when on it can judge.
func TestBeginningsThatAreGone(t *testing.T) {
	top := newTopic()
	top.add("t", 0, kafka.HeaderSeq, "a-0")
	top.now += 5000
	top.add("t", 1, kafka.HeaderSeq, "a-2")
	top.audit.Partial("t", 1, true)
	var text bytes.Buffer
	r := top.audit.Report()
	if err := r.WriteText(&text); err != nil || r.Complete || strings.Count(text.String(), "--since="+r.Gone.Add(time.Second).Format(time.RFC3339)) != 1 || r.Gone.UnixMilli() != top.now {
		t.Errorf("%v\n%s", err, &text)
	}
}
