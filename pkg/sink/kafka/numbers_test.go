package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink"
)

func fromF() []sink.Header {
	return []sink.Header{{Key: HeaderInstance, Value: []byte("pod/1")}, {Key: "ingest-function", Value: []byte("f")}}
}

// origin returns one list, as its contract demands.
func origin(h []sink.Header) func() []sink.Header { return func() []sink.Header { return h } }

// numberOf splits a sequence number.
func numberOf(t *testing.T, r *kgo.Record, key string) (start string, n int) {
	t.Helper()
	text := header(r, key)
	start, digits, ok := strings.Cut(text, "-")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || len(start) != startIDLength {
		t.Fatalf("%s is %q", key, text)
	}
	return start, n
}

// dense fails unless the numbers are those from 0 on, each once, of one start.
func dense(t *testing.T, numbers []int, starts map[string]bool) {
	t.Helper()
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != i {
			t.Fatalf("number %d stands where %d belongs: %v", n, i, numbers)
		}
	}
	if len(starts) != 1 {
		t.Errorf("starts %v", starts)
	}
}

func TestEveryEventHasANumberOfOneSequence(t *testing.T) {
	c := cluster(t, 3)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Headers, d.Origin = HeadersStandard, origin(fromF())
		cfg.BatchBytes, cfg.BufferBytes = MinBatchBytes, 8*MinBatchBytes
	})
	const n = 120 // beyond two changes of the number of digits
	for i := range n {
		r := record(fmt.Sprintf("key-%d", i%7), i)
		switch i {
		case 20:
			r.Key = nil
		case 55: // larger than a batch
			r.Value = []byte(`"` + strings.Repeat("x", 2*MinBatchBytes) + `"`)
		}
		if i%10 == 3 {
			r.Headers = []sink.Header{{Key: "own", Value: []byte("h")}}
		}
		if _, err := s.Append(patient(t), []sink.Record{r}, nil); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("x"), Reason: "bad"}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeSink(t, s)
	starts, numbers := map[string]bool{}, []int(nil)
	add := func(r *kgo.Record) {
		id, no := numberOf(t, r, HeaderSeq)
		starts[id] = true
		numbers = append(numbers, no)
		if header(r, HeaderInstance) != "pod/1" || header(r, "ingest-function") != "f" {
			t.Errorf("headers %v", r.Headers)
		}
	}
	own := 0
	for _, r := range consume(t, c, "t", n) {
		add(r)
		if header(r, "own") == "h" {
			own++
		}
	}
	for _, r := range consume(t, c, "t.dlq", n/10) {
		add(r)
	}
	dense(t, numbers, starts)
	if own != n/10 {
		t.Errorf("%d records have a header of their own, want %d", own, n/10)
	}
}

func TestNoHeadersUnlessAskedFor(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(_ *Config, d *Deps) { d.Origin = origin(fromF()) })
	appendAll(t, s, 3, 1, nil)
	closeSink(t, s)
	for _, r := range consume(t, c, "t", 3) {
		if len(r.Headers) != 0 {
			t.Errorf("headers %v", r.Headers)
		}
	}
}

func TestCloudEventsAttributes(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Headers = HeadersCloudEvents
		d.Origin = origin(append(fromF(), sink.Header{Key: "ingest-tag-env", Value: []byte("prod")}))
	})
	types := []string{"function", "", "platform.report", "platform.report", "function"}
	for i, typ := range types {
		r := record("k", i)
		r.Type = typ
		if _, err := s.Append(patient(t), []sink.Record{r}, nil); err != nil {
			t.Fatal(err)
		}
	}
	closeSink(t, s)
	for i, r := range consume(t, c, "t", len(types)) {
		want := typePrefix + types[i]
		if types[i] == "" {
			want = typeUnknown
		}
		if _, n := numberOf(t, r, HeaderCloudEventID); n != i || header(r, ceType) != want || header(r, ceSpecVersion) != "1.0" ||
			header(r, HeaderCloudEventSource) != "/functiongraph/f/pod%2F1" || header(r, contentType) != "application/json" || header(r, "ingest-tag-env") != "prod" {
			t.Errorf("record %d: %v", i, r.Headers)
		}
		if header(r, HeaderSeq) != "" || header(r, HeaderInstance) != "" || len(r.Headers) != 6 {
			t.Errorf("record %d has more than its attributes: %v", i, r.Headers)
		}
	}
}

func TestOriginThatBecomesKnownLater(t *testing.T) {
	c := cluster(t, 1)
	list := fromF()
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Headers, d.Origin = HeadersStandard, func() []sink.Header { return list }
	})
	appendAll(t, s, 2, 1, nil)
	list = []sink.Header{{Key: "ingest-function", Value: []byte("g")}, {Key: HeaderInstance, Value: []byte("i")}}
	appendAll(t, s, 2, 1, nil)
	closeSink(t, s)
	for i, r := range consume(t, c, "t", 4) {
		if _, n := numberOf(t, r, HeaderSeq); n != i || header(r, "ingest-function") != []string{"f", "f", "g", "g"}[i] || len(r.Headers) != 3 {
			t.Errorf("record %d: %v", i, r.Headers)
		}
	}
}

// What another process took keeps the headers that it gave, also where it becomes a dead letter.
func TestReplayedRecordsKeepTheirHeaders(t *testing.T) {
	disk := newTestDisk(t)
	away := start(t, cluster(t, 1), func(cfg *Config, d *Deps) {
		cfg.Headers, d.Origin, cfg.Settle = HeadersStandard, origin(fromF()), SettleOnDisk
		d.OpenSpool = disk.Open
		d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("away") }
	})
	onDisk(t, away, 4)
	away.Close(ended())
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Headers, d.Origin = HeadersStandard, origin([]sink.Header{{Key: HeaderInstance, Value: []byte("second")}})
		d.OpenSpool = disk.Open
	})
	recs := consume(t, c, "t", 4)
	closeSink(t, s)
	starts, numbers := map[string]bool{}, []int(nil)
	for _, r := range recs {
		id, no := numberOf(t, r, HeaderSeq)
		starts[id] = true
		numbers = append(numbers, no)
		if header(r, HeaderInstance) != "pod/1" || len(r.Headers) != 3 {
			t.Errorf("headers %v", r.Headers)
		}
	}
	dense(t, numbers, starts)
}

// onDisk appends n records and waits until they are durable.
func onDisk(t *testing.T, s *Sink, n int) {
	t.Helper()
	var ack ackCount
	appendAll(t, s, n, 2, &ack)
	waitFor(t, func() bool {
		ack.mu.Lock()
		defer ack.mu.Unlock()
		return ack.held > 0 && ack.done == ack.held
	})
}

// markOf reads a mark.
func markOf(t *testing.T, r *kgo.Record) (m Mark) {
	t.Helper()
	if err := json.Unmarshal(r.Value, &m); err != nil || m.Name != "ingest.mark" {
		t.Fatalf("mark %s: %v", r.Value, err)
	}
	return m
}

func TestMarks(t *testing.T) {
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Headers, cfg.MarkInterval, d.Origin = HeadersStandard, time.Nanosecond, origin(fromF())
	})
	want := appendAll(t, s, 5, 3, nil)
	st := closeSink(t, s)
	if st.Admitted != 5 || st.Delivered != 5 {
		t.Errorf("marks are in the ledger: %+v", st)
	}
	// The first append only starts the clock; each of the others ends with a mark, and the end is one.
	all := consume(t, c, "t", 5+4+1)
	var marks []Mark
	all = slices.DeleteFunc(all, func(r *kgo.Record) bool {
		if header(r, HeaderMark) == "" {
			return false
		}
		marks = append(marks, markOf(t, r))
		if header(r, HeaderInstance) != "pod/1" {
			t.Errorf("headers %v", r.Headers)
		}
		return true
	})
	checkKeyed(t, all, want)
	start, _ := numberOf(t, all[0], HeaderSeq)
	slices.SortFunc(marks, func(a, b Mark) int {
		if a.Final != b.Final {
			if a.Final {
				return 1
			}
			return -1
		}
		return int(a.Numbers - b.Numbers)
	})
	for i, m := range marks {
		final := i == len(marks)-1
		if m.Start != start || m.Final != final || m.Numbers != int64(min(i+2, 5)) || m.Safe > m.Numbers || final && (m.Safe != 5 || m.Open != 0) {
			t.Errorf("mark %d: %+v", i, m)
		}
	}
}

func TestNoMarkWithoutEvents(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Headers, cfg.MarkInterval = HeadersStandard, time.Nanosecond })
	waitFor(t, func() bool { return s.Ready() == nil })
	closeSink(t, s)
	if m := s.Metrics(); m.Batches != 0 {
		t.Errorf("%d batches were sent", m.Batches)
	}
}

// What Kafka does not take, the final mark included, waits on disk for the next process.
func TestFinalMarkGoesToTheDisk(t *testing.T) {
	disk := newTestDisk(t)
	away := start(t, cluster(t, 1), func(cfg *Config, d *Deps) {
		cfg.Headers, cfg.MarkInterval, cfg.Settle = HeadersStandard, time.Hour, SettleOnDisk
		d.OpenSpool = disk.Open
		d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("away") }
	})
	onDisk(t, away, 3)
	away.Close(ended())
	c := cluster(t, 1)
	s := start(t, c, func(_ *Config, d *Deps) { d.OpenSpool = disk.Open })
	recs := consume(t, c, "t", 4)
	closeSink(t, s)
	last := recs[3]
	if m := markOf(t, last); header(last, HeaderMark) != MarkFinal || !m.Final || m.Numbers != 3 || m.Safe != 3 || m.Open != 3 || m.Lost != 0 {
		t.Errorf("mark %+v", m)
	}
}

// A mark never says that a number is safe while its event is in memory only.
func TestSafeIsBelowWhatIsInMemory(t *testing.T) {
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Headers, cfg.Linger = HeadersStandard, time.Hour })
	waitFor(t, func() bool { return s.Ready() == nil })
	safe := func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.safe() }
	appendAll(t, s, 4, 1, nil)
	if n := safe(); n != 0 {
		t.Errorf("safe %d while all is in memory", n)
	}
	s.Flush()
	waitFor(t, func() bool { return s.Stats().Delivered == 4 })
	appendAll(t, s, 2, 1, nil)
	if n := safe(); n != 4 {
		t.Errorf("safe %d, 4 are delivered and 2 in memory", n)
	}
	closeSink(t, s)
	if n := safe(); n != 6 {
		t.Errorf("safe %d at the end", n)
	}
}

func TestNumbersCostNoAllocation(t *testing.T) {
	s := &Sink{}
	s.numbers.headers, s.deps.Origin = HeadersStandard, origin(fromF())
	s.numbers.begin(0)
	s.originChanged()
	s.encoded("function")
	if n := testing.AllocsPerRun(2000, func() {
		s.count.admitted++
		s.originChanged()
		s.encoded("function")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := string(s.numbers.encoded.Wire[s.numbers.first:s.numbers.last]); got != "2001" {
		t.Errorf("number %s", got)
	}
}

func BenchmarkNumbers(b *testing.B) {
	s := &Sink{}
	s.numbers.headers, s.deps.Origin = HeadersStandard, origin(fromF())
	s.numbers.begin(0)
	for b.Loop() {
		s.count.admitted++
		s.encoded("function")
	}
}

// What readers make of the headers that are written.
func TestNumbersAreReadAsTheyAreWritten(t *testing.T) {
	n := numbers{headers: HeadersStandard}
	for _, no := range []int64{0, 7, 10, 1 << 50} {
		n.begin(0)
		if start, got, ok := ParseNumber(n.text(no)); !ok || got != no || string(start) != n.start {
			t.Errorf("%s: %s %d %v", n.text(no), start, got, ok)
		}
	}
	for _, name := range []string{"i", "a b/c%", "日志", "/"} {
		from := []sink.Header{{Key: "ingest-function", Value: []byte("f/g")}, {Key: HeaderInstance, Value: []byte(name)}}
		if got := InstanceOf([]byte(source(from))); got != name {
			t.Errorf("%s: %s", source(from), got)
		}
	}
}
