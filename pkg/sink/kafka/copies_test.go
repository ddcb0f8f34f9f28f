package kafka

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol/produce"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// bench is a sink without goroutines, with one partition, for tests of single steps.
func bench(t *testing.T) (*Sink, *lane, *worker) {
	t.Helper()
	s := &Sink{}
	s.warnedAt = map[string]time.Time{}
	s.log, s.want.kick, s.cfg, s.expiry, s.current = slog.New(slog.DiscardHandler), make(chan struct{}, 1), Config{RequestTimeout: time.Second}, time.Hour, producer{id: 1, gen: 1}
	s.count.dropped = map[string]int64{}
	s.join()
	s.topics = []*topic{{core: &s.core, name: "t", keeps: timesCreate}}
	s.all = append(slices.Clone(s.topics), &s.dead)
	l := &lane{topic: s.topics[0], broker: &broker{core: &s.core, bound: requestBound{asked: true}}}
	s.topics[0].lanes = []*lane{l}
	return s, l, &worker{s: &s.sender, b: l.broker}
}

// holds puts a batch of n events at the end of the lane.
func holds(t *testing.T, l *lane, n int) *batch {
	t.Helper()
	b := &batch{lane: l, unsettledParts: 1, rb: recordbatch.NewPrivateBatch(64 * n), events: n}
	for range n {
		if !b.rb.TryAppend(0, nil, []byte("event"), nil) {
			t.Fatal("it does not fit")
		}
	}
	b.size = b.rb.Size()
	l.queue = append(l.queue, b)
	return b
}

// sends takes the lane's batch into a request, and gives the request up.
func (w *worker) sends(t *testing.T, l *lane) *batch {
	t.Helper()
	if !w.addLocked(l, time.Now()) {
		t.Fatal("the request is full")
	}
	b := w.entries[0].batch
	w.entries, w.bytes, l.busy = w.entries[:0], 0, false
	return b
}

// TestEachCopyIsCounted: a batch that goes again under another stamp may be in the log once more each time.
func TestEachCopyIsCounted(t *testing.T) {
	s, l, w := bench(t)
	holds(t, l, 3)
	for copies := range int64(5) {
		b := w.sends(t, l)
		if got := s.possibleDuplicates.Load(); got != 3*copies {
			t.Fatalf("after %d copies that may be there: %d possible duplicates, want %d", copies, got, 3*copies)
		}
		b.maybeWritten = true // its answer is lost
		if b = w.sends(t, l); s.possibleDuplicates.Load() != 3*copies {
			t.Fatal("a resend under the same stamp was counted")
		}
		l.abandonStamp(b) // and then the broker refuses the stamp
	}
}

// TestAnAnswerOfAnotherClusterIsNoSuccess: the addresses lead to another cluster while a request is under way, and what
// answers takes the stamp for that of a batch of its own.
func TestAnAnswerOfAnotherClusterIsNoSuccess(t *testing.T) {
	s, l, w := bench(t)
	s.cluster.setClusterLocked("one")
	b := holds(t, l, 3)
	if !w.addLocked(l, time.Now()) {
		t.Fatal("the request is full")
	}
	s.cluster.setClusterLocked("another")
	res := &produce.Response{Topics: []produce.ResponseTopic{{Topic: "t", Partitions: []produce.ResponsePartition{{LogAppendTime: 5}}}}}
	w.resolve(res, nil, time.Now())
	if st := s.Stats(); st.Delivered != 0 || l.head != b {
		t.Fatalf("it counts as delivered: %+v", st)
	}
	s.current = producer{id: 9, gen: s.current.gen + 1, cluster: "another"}
	s.topics[0].keeps = timesCreate
	if w.sends(t, l); b.stamp.id != 9 || s.possibleDuplicates.Load() != 3 {
		t.Errorf("it goes again under %+v, %d possible duplicates", b.stamp, s.possibleDuplicates.Load())
	}
}

// TestARefusedStampIsNoCopy: a batch that is certainly not in the log goes again without being counted.
func TestARefusedStampIsNoCopy(t *testing.T) {
	s, l, w := bench(t)
	holds(t, l, 3)
	for range 5 {
		l.abandonStamp(w.sends(t, l))
	}
	if got := s.possibleDuplicates.Load(); got != 0 {
		t.Errorf("%d possible duplicates", got)
	}
}

// TestACopyThatArrivesAfterTheProducerIsForgotten: a resend that leaves shortly before the brokers forget the producer may
// arrive after that, and each time that passes again.
func TestACopyThatArrivesAfterTheProducerIsForgotten(t *testing.T) {
	s, l, w := bench(t)
	holds(t, l, 2)
	b := w.sends(t, l)
	ages := func(d time.Duration) { b.known = b.known.Add(-d) }
	for i, c := range []struct {
		age  time.Duration
		want int64
	}{{time.Hour - 2*time.Second, 0}, {time.Second + time.Millisecond, 2}, {time.Minute, 2}, {time.Hour, 4}} {
		b.maybeWritten = true
		ages(c.age)
		w.sends(t, l)
		if got := s.possibleDuplicates.Load(); got != c.want {
			t.Errorf("resend %d: %d possible duplicates, want %d", i, got, c.want)
		}
	}
}

// TestGrowthDoesNotWaitForWhatCannotBeSent: while a partition holds something that cannot be sent, whatever the reason,
// events go on by the old number of partitions.
func TestGrowthDoesNotWaitForWhatCannotBeSent(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(s *Sink, l *lane)
		putOff bool
	}{
		"all is well":                  {func(*Sink, *lane) {}, false},
		"no producer id":               {func(s *Sink, _ *lane) { s.current = producer{} }, true},
		"the id was refused":           {func(s *Sink, l *lane) { l.stamps.forget(s.current.gen) }, true},
		"timestamp type not known":     {func(s *Sink, _ *lane) { s.topics[0].keeps = timesUnknown }, true},
		"no leader":                    {func(_ *Sink, l *lane) { l.broker = nil }, true},
		"it fails":                     {func(_ *Sink, l *lane) { l.failures = 1 }, true},
		"the spool is not open":        {func(s *Sink, _ *lane) { s.disk.holding = true }, true},
		"the disk hangs":               {func(s *Sink, _ *lane) { s.disk.hangs = true }, true},
		"frames on disk":               {func(_ *Sink, l *lane) { l.disk.any = true }, true},
		"no id, and nothing to send":   {func(s *Sink, l *lane) { s.current = producer{}; l.queue = nil }, false},
		"under way under its stamp":    {func(s *Sink, l *lane) { l.busy, s.current = true, producer{} }, false},
		"no ids are used by this sink": {func(s *Sink, _ *lane) { s.current, s.unsafe = producer{}, true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, l, _ := bench(t)
			holds(t, l, 1)
			c.spoil(s, l)
			if got := s.topics[0].deferGrowth(); got != c.putOff {
				t.Errorf("growth is put off: %v, want %v", got, c.putOff)
			}
		})
	}
}

// TestACopyOfABatchThatIsOld: where a topic keeps the times of the records, a broker forgets a producer by the newest time in
// its newest batch; at once, if that batch has none.
func TestACopyOfABatchThatIsOld(t *testing.T) {
	now := time.Now().UnixMilli()
	hours := func(n int64) int64 { return now - n*time.Hour.Milliseconds() }
	for name, c := range map[string]struct {
		keeps times
		at    []int64
		known bool
	}{
		"new":                         {timesCreate, []int64{now}, true},
		"old":                         {timesCreate, []int64{hours(30)}, false},
		"its newest is new":           {timesCreate, []int64{hours(30), now, hours(2)}, true},
		"no times":                    {timesCreate, []int64{recordbatch.NoTimestamp}, false},
		"old, times not known":        {timesUnknown, []int64{hours(30)}, false},
		"old, the broker's times":     {timesAppend, []int64{hours(30)}, true},
		"no times, the broker's":      {timesAppend, []int64{recordbatch.NoTimestamp}, true},
		"from the future":             {timesCreate, []int64{hours(-1)}, true},
		"an hour less than a day old": {timesCreate, []int64{hours(23)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, l, w := bench(t)
			s.expiry = 24 * time.Hour
			s.topics[0].keeps = c.keeps
			b := &batch{lane: l, unsettledParts: 1, rb: recordbatch.NewPrivateBatch(1024), events: len(c.at)}
			for _, at := range c.at {
				b.rb.TryAppend(at, nil, []byte("event"), nil)
			}
			b.size = b.rb.Size()
			l.queue = append(l.queue, b)
			for range 2 {
				if !w.addLocked(l, time.Now()) {
					t.Fatal("the request is full")
				}
				w.prepare()
				w.entries, w.bytes, l.busy = w.entries[:0], 0, false
				b.maybeWritten = true
			}
			if told := time.UnixMilli(b.spoolStamp().FirstSent); time.Since(told) > 24*time.Hour == c.known {
				t.Errorf("the spool is told %v", told)
			}
			w.addLocked(l, time.Now())
			// Each of the two resends is one more copy.
			want := int64(0)
			if !c.known {
				want = int64(2 * b.events)
			}
			if got := s.possibleDuplicates.Load(); got != want {
				t.Errorf("%d possible duplicates, want %d", got, want)
			}
		})
	}
}

// The batch in doubt gets its frame while a worker, which sends it again, brings back when the broker learned its stamp. The
// race detector looks on.
func TestAFrameAndItsStampBesideAResend(t *testing.T) {
	t.Parallel()
	s, l, w := bench(t)
	b := holds(t, l, 1)
	b.compressed, b.bytesFinal = true, true
	b.rb.Stamp(1, 0, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			s.mu.Lock()
			b.known = time.Now()
			(&entry{lane: l, batch: b, dated: i%2 == 0}).date()
			s.mu.Unlock()
		}
	}()
	for range 100 {
		w.s.writer.prepareFrames([]*batch{b})
	}
	<-done
}
