package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// cloned makes s what a sink is after its process was restored from a snapshot of the one of from: it has the same
// producer id, the same stamps and the same sequence of numbers. Both must be idle.
func cloned(t *testing.T, s, from *Sink) {
	t.Helper()
	from.mu.Lock()
	defer from.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.topics[0].lanes) != len(from.topics[0].lanes) {
		t.Fatal("the partitions are not known")
	}
	s.current, s.count.admitted, s.count.delivered = from.current, from.count.admitted, from.count.delivered
	s.numbers.start, s.numbers.base, s.numbers.at = from.numbers.start, from.numbers.base, -1
	for i, l := range from.topics[0].lanes {
		s.topics[0].lanes[i].stamps = l.stamps
	}
}

// one appends an event and waits until Kafka has it.
func one(t *testing.T, s *Sink, key string, n int) {
	t.Helper()
	before := s.Stats().Delivered
	if _, err := s.Append(patient(t), []sink.Record{record(key, n)}, nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.Stats().Delivered > before })
}

// Two processes go on from one snapshot. Without a renewal the broker takes the batches of one for resends of the
// other's.
func TestClonesOfASnapshotAreNotTakenForEachOther(t *testing.T) {
	for _, renew := range []bool{false, true} {
		c := cluster(t, 1)
		var clones [2]*Sink
		for i := range clones {
			clones[i] = start(t, c, func(cfg *Config, d *Deps) {
				cfg.Headers, cfg.MarkInterval, d.Origin = HeadersStandard, time.Hour, origin(fromF())
			})
			waitFor(t, func() bool { return clones[i].Ready() == nil })
		}
		want := map[string][]string{}
		next := func(s *Sink, key string, n int) {
			one(t, s, key, n)
			want[key] = append(want[key], string(record(key, n).Value))
		}
		next(clones[0], "before", 0)
		waitFor(t, func() bool { return clones[1].Ready() == nil })
		cloned(t, clones[1], clones[0])
		if renew {
			for _, s := range clones {
				s.Renew()
			}
		}
		for n := range 20 {
			for i, s := range clones {
				next(s, fmt.Sprint("clone ", i), n)
			}
		}
		var possible int64
		for _, s := range clones {
			possible += closeSink(t, s).PossibleDuplicates
		}
		const events = 1 + 2*20
		if there := c.PartitionInfo("t", 0).HighWatermark; !renew {
			if there >= events { // the control: what this is about is there
				t.Errorf("%d records without a renewal", there)
			}
			continue
		}
		if possible != 0 {
			t.Errorf("%d possible duplicates", possible)
		}
		records := consume(t, c, "t", events+4)
		checkKeyed(t, slices.DeleteFunc(slices.Clone(records), func(r *kgo.Record) bool { return header(r, HeaderMark) != "" }), want)
		starts, marks := map[string]int{}, map[string]int{}
		for _, r := range records {
			switch {
			case header(r, HeaderMark) == "":
				id, _ := numberOf(t, r, HeaderSeq)
				starts[id]++
			case header(r, HeaderMark) == MarkFinal:
				_, after, _ := strings.Cut(string(r.Value), `"start":"`)
				marks[after[:startIDLength]]++
			}
		}
		if len(starts) != 3 || len(marks) != 3 {
			t.Errorf("%d sequences, final marks of %d; the one of the snapshot and one of each clone were to come: %v %v", len(starts), len(marks), starts, marks)
		}
	}
}

// A batch that is in doubt when the snapshot is taken is sent by both clones, under one stamp: it is in the log once.
func TestWhatIsInDoubtKeepsItsStampWhenTheIdentityIsRenewed(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, nil)
	one(t, s, "k", 0)
	was := s.producerNow()
	f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 3})
	defer f.Remove()
	want := appendAll(t, s, 1, 1, nil)
	waitFor(t, func() bool { return s.Metrics().Retries > 0 })
	s.Renew()
	waitFor(t, func() bool { return s.Stats().Delivered == 2 })
	for k, v := range appendAll(t, s, 5, 1, nil) {
		want[k] = append(want[k], v...)
	}
	if st := closeSink(t, s); st.Delivered != 7 || st.PossibleDuplicates != 0 {
		t.Errorf("%+v", st)
	}
	if now := s.producerNow(); now.id == was.id || now.gen == was.gen {
		t.Errorf("the producer was %+v, is %+v", was, now)
	}
	if n := len(consume(t, c, "t", 7)); n != 7 {
		t.Errorf("%d records", n)
	}
}

func (s *Sink) producerNow() producer { s.mu.Lock(); defer s.mu.Unlock(); return s.current }

// The id that was retired, or that was another cluster's, is not used by partitions that are new either.
func TestARetiredProducerIsNotUsedByNewPartitions(t *testing.T) {
	for name, retire := range map[string]func(*Sink){
		"a renewal":       func(s *Sink) { s.retireProducer() },
		"another cluster": func(s *Sink) { s.cluster.setClusterLocked("another") },
		"a shrink":        func(s *Sink) { s.topics[0].addLanes(4); s.removeLanes(s.topics[0], 1) },
	} {
		s, _, _ := bench(t)
		s.mu.Lock()
		s.cluster.setClusterLocked("one")
		retire(s)
		s.topics[0].addLanes(len(s.topics[0].lanes) + 1)
		l := s.topics[0].lanes[len(s.topics[0].lanes)-1]
		if l.stamps.ready(s.current) {
			t.Errorf("%s: a new partition would use the old id", name)
		}
		if s.current.gen++; !l.stamps.ready(s.current) {
			t.Errorf("%s: a new partition does not use the new id", name)
		}
		s.mu.Unlock()
	}
}

// A process that has sent nothing has no producer id that a copy of it could share. It asks for one all the same, to
// learn whether it is given any; so does a process whose identity was renewed.
func TestTheProducerIDIsAskedForWithTheFirstBatch(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, nil)
	waitFor(t, func() bool { return s.producerNow().gen == 1 && s.Ready() == nil })
	rehearsed := s.producerNow()
	one(t, s, "k", 1)
	first := s.producerNow()
	if first.gen != 2 || first.id == rehearsed.id {
		t.Errorf("%+v after the first event, %+v before", first, rehearsed)
	}
	one(t, s, "k", 2)
	if p := s.producerNow(); p != first {
		t.Errorf("%+v after the second event, %+v after the first", p, first)
	}
	s.Renew()
	s.mu.Lock()
	if s.want.producer {
		t.Error("a renewal asks for a producer id before there is a batch")
	}
	s.mu.Unlock()
	one(t, s, "k", 3)
	if p := s.producerNow(); p.gen != 3 || p.id == first.id {
		t.Errorf("%+v after the renewal, %+v before", p, first)
	}
}

// Two processes go on from the snapshot of one that was ready and had sent nothing. Nothing tells them of it, and the
// broker does not take the batches of one for resends of the other's.
func TestClonesOfAProcessThatHasSentNothing(t *testing.T) {
	c := cluster(t, 1)
	var clones [2]*Sink
	for i := range clones {
		clones[i] = start(t, c, nil)
		waitFor(t, func() bool { return clones[i].Ready() == nil && clones[i].producerNow().gen == 1 })
	}
	cloned(t, clones[1], clones[0])
	want := map[string][]string{}
	for n := range 20 {
		for i, s := range clones {
			key := fmt.Sprint("clone ", i)
			one(t, s, key, n)
			want[key] = append(want[key], string(record(key, n).Value))
		}
	}
	for _, s := range clones {
		if st := closeSink(t, s); st.Delivered != 20 || st.PossibleDuplicates != 0 {
			t.Errorf("%+v", st)
		}
	}
	checkKeyed(t, consume(t, c, "t", 2*20), want)
}
