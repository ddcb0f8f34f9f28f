package kafka

import (
	"fmt"
	"slices"
	"testing"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// The last dead letters are shown with what finds them; what they hold only to those who asked for it.
func TestInsideShowsTheLastDeadLetters(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "at <b>17  ~"} {
		s := start(t, cluster(t, 1), func(c *Config, _ *Deps) { c.ShowContent = content != "" })
		for i := range 20 {
			d := &sink.DeadLetter{Raw: fmt.Appendf(nil, "at <b>%d\n\x1b~", i), Reason: "bad_value", Offset: int64(i), ErrorOffset: int64(i) + 1, BodyID: 1<<63 + uint64(i)}
			if err := s.DeadLetter(patient(t), d, nil); err != nil {
				t.Fatal(err)
			}
		}
		notes := s.Inside(1).DeadLetters
		if len(notes) != lastDead || notes[0].Offset != 19 || notes[lastDead-1].Offset != 4 {
			t.Fatalf("%+v", notes)
		}
		want := sink.DeadNote{Time: notes[2].Time, Reason: "bad_value", Body: 1<<63 + 17, Offset: 17, ErrorOffset: 18, Partition: -1, Bytes: 11, Content: content}
		if notes[2] != want || notes[2].Time.IsZero() {
			t.Errorf("%+v, want %+v", notes[2], want)
		}
		closeSink(t, s)
		if n := s.Inside(1).DeadLetters; !slices.Equal(n, notes) {
			t.Error("a closed sink forgets")
		}
	}
}

// Of many partitions those are shown that an operator looks for.
func TestInsideShowsTroubleFirst(t *testing.T) {
	s := start(t, cluster(t, 40), nil)
	if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("x"), Reason: "bad_value"}, nil); err != nil {
		t.Fatal(err)
	}
	patience := patient(t)
	for ready := false; !ready; {
		if patience.Err() != nil {
			t.Fatal("the partitions never came")
		}
		s.mu.Lock()
		ready = len(s.topics[0].lanes) == 40 && s.topics[0].lanes[33].broker != nil
		s.mu.Unlock()
	}
	s.mu.Lock()
	bad, busy := s.topics[0].lanes[33], s.topics[0].lanes[31]
	bad.failures, bad.trouble = 1, trouble{kind: silent, subject: "broker 7"}
	busy.open = &batch{lane: busy, events: 5, unsettledParts: 1, rb: recordbatch.NewPrivateBatch(1)}
	in := s.reporter.insideLocked(3)
	bad.failures, bad.trouble, busy.open = 0, trouble{}, nil
	s.mu.Unlock()
	if in.AllPartitions != 41 || len(in.Partitions) != 3 {
		t.Fatalf("%+v", in)
	}
	if p := in.Partitions[0]; p.Partition != 33 || p.Trouble.Remedy == "" || p.Leader < 0 {
		t.Errorf("first %+v", p)
	}
	shown := slices.IndexFunc(in.Partitions, func(p sink.Partition) bool { return p.Partition == 31 && p.Topic == "t" })
	if shown < 1 || in.Partitions[shown].Waiting != 5 {
		t.Errorf("%+v", in.Partitions)
	}
	closeSink(t, s)
}
