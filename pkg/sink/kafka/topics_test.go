package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

var three = []string{"t", "t2", "t3"}

// threeTopics makes the sink one with the topics of three.
func threeTopics(cfg *Config, _ *Deps) { cfg.MoreTopics = three[1:] }

// spread appends records n times, one for each topic in one call, and returns what belongs to each, per key in order.
func spread(t *testing.T, s *Sink, from, n, topics int, ack sink.Ack) []map[string][]string {
	t.Helper()
	return spreadOver(t, s, from, n, topics, 7, ack)
}

// spreadOver is spread with so many keys.
func spreadOver(t *testing.T, s *Sink, from, n, topics, keys int, ack sink.Ack) []map[string][]string {
	t.Helper()
	want := make([]map[string][]string, topics)
	for i := range want {
		want[i] = map[string][]string{}
	}
	for i := from; i < from+n; i++ {
		key := fmt.Sprint("key-", i%keys)
		var recs []sink.Record
		for topic := range topics { // the same key in each
			r := record(key, i)
			r.Topic, r.Value = topic, append(r.Value, strings.Repeat(three[topic], 1+i%3)...)
			want[topic][key] = append(want[topic][key], string(r.Value))
			recs = append(recs, r)
		}
		if took, err := s.Append(patient(t), recs, ack); err != nil || took != topics {
			t.Fatalf("append %d: took %d, %v: %+v", i, took, err, s.Stats())
		}
	}
	return want
}

// joined are all records of two runs of spread.
func joined(a, b []map[string][]string) []map[string][]string {
	for i := range b {
		for k, v := range b[i] {
			a[i][k] = append(a[i][k], v...)
		}
	}
	return a
}

// makeTopic creates a topic.
func makeTopic(t *testing.T, c *kfake.Cluster, name string, partitions int32) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(patient(t), partitions, 1, nil, name); err != nil {
		t.Fatal(err)
	}
}

func quickLooks(cfg *Config, _ *Deps) { cfg.MetadataTTL = 200 * time.Millisecond }

// Each record is in its own topic, once and in order, also beside records of other topics with the same key; a dead letter
// says where it was to go.
func TestEachTopicGetsItsRecordsInOrder(t *testing.T) {
	t.Parallel()
	c := cluster(t, 3, kfake.SeedTopics(2, "t2"), kfake.SeedTopics(5, "t3"))
	s := start(t, c, threeTopics)
	var ack ackCount
	want := spread(t, s, 0, 300, 3, &ack)
	for topic := range three {
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("x"), Reason: "bad", Topic: topic}, &ack); err != nil {
			t.Fatal(err)
		}
	}
	if st := closeSink(t, s); st.Delivered != 900 || st.DeadLettered != 3 {
		t.Errorf("%+v", st)
	}
	ack.check(t, 0)
	for i, name := range three {
		checkKeyed(t, consume(t, c, name, 300), want[i])
	}
	got := map[string]bool{}
	for _, r := range consume(t, c, "t.dlq", 3) {
		got[header(r, HeaderTopic)] = true
	}
	if len(got) != 3 {
		t.Errorf("dead letters name %v", got)
	}
}

// A topic that is missing does not keep the others from Kafka, with a spool and without one; what it is to get waits, and
// comes in order when the topic is made. Meanwhile the sink says which one is missing.
func TestATopicThatIsMissingDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	for _, with := range []string{"memory", "spool", "spool of acks"} {
		t.Run(with, func(t *testing.T) {
			c := cluster(t, 3, kfake.SeedTopics(2, "t3"))
			edit := func(cfg *Config, d *Deps) {
				quickLooks(cfg, d)
				threeTopics(cfg, d)
				if with == "spool of acks" {
					cfg.Settle = SettleOnDisk
				}
			}
			var s *Sink
			if with == "memory" {
				s = start(t, c, edit)
			} else {
				s, _ = spooling(t, c, t.TempDir(), edit)
			}
			var ack ackCount
			want := spread(t, s, 0, 1, 3, &ack)
			waitFor(t, func() bool { return s.Stats().Delivered == 2 })
			want = joined(want, spread(t, s, 1, 400, 3, &ack))
			waitFor(t, func() bool { return s.Stats().Delivered == 802 })
			waitFor(t, func() bool { d := s.Delivery(); return strings.Contains(d.Trouble.Reason, "t2") })
			if err := s.Ready(); with == "memory" && (err == nil || !strings.Contains(err.Error(), "t2")) {
				t.Errorf("ready: %v", err)
			}
			makeTopic(t, c, "t2", 4)
			want = joined(want, spread(t, s, 401, 100, 3, &ack))
			waitFor(t, func() bool { return s.Delivery().Trouble.Kind == "" && s.Ready() == nil })
			st := closeSink(t, s)
			if st.Delivered != 1503 || st.PossibleDuplicates != 0 || len(st.Dropped) != 0 {
				t.Errorf("%+v", st)
			}
			ack.check(t, 0)
			for i, name := range three {
				checkKeyed(t, consume(t, c, name, 501), want[i])
			}
		})
	}
}

// What waits for a topic that is missing takes its share. Beyond it its events are dead letters, with a key and without,
// and all others go on.
func TestATopicThatIsMissingTakesItsShare(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]string{{"a", "b"}, nil} {
		c := cluster(t, 2, kfake.SeedTopics(1, "t.dlq"))
		s := stuckSink(t, c, func(cfg *Config, d *Deps) { cfg.MoreTopics = []string{"t2"}; quickLooks(cfg, d) })
		var ack ackCount
		const n = 3000
		for i := range n {
			for topic := range 2 {
				r := sink.Record{Topic: topic, Value: fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 500)), Timestamp: 1}
				if keys != nil {
					r.Key = []byte(keys[i%2])
				}
				if _, err := s.Append(patient(t), []sink.Record{r}, &ack); err != nil {
					t.Fatalf("append %d: %v: %+v", i, err, s.Stats())
				}
			}
			if i == 0 {
				waitFor(t, func() bool { return s.Stats().Delivered == 1 })
			}
		}
		waitFor(t, func() bool { return s.Stats().Delivered == n })
		makeTopic(t, c, "t2", 2)
		st := closeSink(t, s)
		ack.check(t, 0)
		if st.Delivered+st.DeadLettered != 2*n || st.DeadLettered == 0 || st.Delivered == n || len(st.Dropped) != 0 {
			t.Errorf("%+v", st)
		}
		if n := s.Inside(0).DeadLetters[0]; n.Topic != "t2" || n.Partition != unassignedPartition {
			t.Errorf("the last dead letter: %+v", n)
		}
		for _, r := range consume(t, c, "t.dlq", int(st.DeadLettered)) {
			if header(r, HeaderReason) != DroppedUnavailable || header(r, HeaderTopic) != "t2" || header(r, headerPartition) != "" {
				t.Fatalf("a dead letter with %v", r.Headers)
			}
		}
		checkOrder(t, consume(t, c, "t2", int(st.Delivered-n)))
	}
}

// checkOrder fails unless the numbers that values begin with ascend for each key of a partition.
func checkOrder(t *testing.T, recs []*kgo.Record) {
	t.Helper()
	last := map[string]int{}
	for _, r := range recs {
		var n int
		fmt.Sscan(string(r.Value), &n)
		at := string(r.Key)
		if before, ok := last[at]; ok && n <= before && at != "" {
			t.Fatalf("key %q: %d behind %d", at, n, before)
		}
		last[at] = n
	}
}

// A partition that cannot move sends the instance's keyless events of its own topic elsewhere; those of another topic stay
// in their partition, and so in order.
func TestAStuckPartitionMovesTheInstanceInItsTopicOnly(t *testing.T) {
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	makeTopic(t, c, "t2", 2)
	for p := range int32(2) {
		if err := c.MoveTopicPartition("t2", p, 2+p); err != nil {
			t.Fatal(err)
		}
	}
	const instance = "an instance"
	home := int32(recordbatch.Murmur2([]byte(instance)) & 1)
	stick(c, place{"t", home})
	s := stuckSink(t, c, func(cfg *Config, _ *Deps) {
		cfg.MoreTopics, cfg.Keyless, cfg.Instance = []string{"t2"}, KeylessInstance, instance
	})
	const n = 2000
	for i := range n {
		for topic := range 2 {
			r := sink.Record{Topic: topic, Value: fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 500)), Timestamp: 1}
			if _, err := s.Append(patient(t), []sink.Record{r}, nil); err != nil {
				t.Fatalf("append %d: %v: %+v", i, err, s.Stats())
			}
		}
	}
	waitFor(t, func() bool { return s.Stats().Delivered > n })
	for _, r := range consume(t, c, "t2", n) {
		if r.Partition != home {
			t.Fatalf("a record of t2 is in partition %d, those before it are in %d", r.Partition, home)
		}
	}
	_ = s.Close(ended())
}

// What waits in memory for a topic is placed piece by piece when it is made: memory outside of the buffers stays within
// its bound.
func TestPlacingALobbyWithoutASpoolKeepsItsBound(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	s := stuckSink(t, c, func(cfg *Config, d *Deps) {
		cfg.MoreTopics, d.stuckAfter = []string{"t2"}, time.Hour
		cfg.BufferBytes, cfg.OversizeBytes = 64*recordbatch.ChunkSize, 2*recordbatch.ChunkSize
		quickLooks(cfg, d)
	})
	spread(t, s, 0, 1, 1, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 1 })
	const n = 1200
	for i := range n {
		r := sink.Record{Topic: 1, Key: []byte("k"), Value: fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 500)), Timestamp: 1}
		if _, err := s.Append(patient(t), []sink.Record{r}, nil); err != nil {
			t.Fatal(err)
		}
	}
	makeTopic(t, c, "t2", 3)
	most := int64(0)
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		most = max(most, s.topics[1].private)
		if s.topics[1].private > s.cfg.OversizeBytes {
			return true
		}
		return s.count.delivered == n+1
	})
	if st := closeSink(t, s); st.Delivered != n+1 || most > s.cfg.OversizeBytes {
		t.Errorf("%d bytes outside of the buffers, at most %d are allowed: %+v", most, s.cfg.OversizeBytes, st)
	}
	checkOrder(t, consume(t, c, "t2", n))
}

// An outage fills the spool with frames of three topics, and the process is killed. The next one sends them while one of
// the topics is missing, and those of that one when it is made; in order with what comes meanwhile.
func TestFramesOfSeveralTopicsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := cluster(t, 3, kfake.SeedTopics(2, "t3"))
	edit := func(cfg *Config, d *Deps) { threeTopics(cfg, d); quickLooks(cfg, d) }
	s, n := spooling(t, c, dir, edit)
	waitFor(t, func() bool { return s.Delivery().Trouble.Kind != "" })
	n.cut()
	want := spread(t, s, 0, 2000, 3, nil)
	_ = s.Close(ended())
	st := s.Stats()
	if st.Spooled != 6000 {
		t.Fatalf("%+v", st)
	}
	var ack ackCount
	s, _ = spooling(t, c, dir, edit)
	want = joined(want, spread(t, s, 2000, 50, 3, &ack))
	waitFor(t, func() bool { return s.Stats().Delivered == 4100 })
	makeTopic(t, c, "t2", 2)
	got := closeSink(t, s)
	if got.Spooled != 0 || len(got.Dropped) != 0 {
		t.Errorf("%+v", got)
	}
	ack.check(t, 0)
	for i, name := range three {
		checkKeyed(t, consume(t, c, name, 2050), want[i])
	}
}

// opened waits until the sink has its spool: a Close before that would leave nothing to it.
func opened(t *testing.T, s *Sink) {
	t.Helper()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.disk.sp != nil })
}

// Frames of an earlier process for a topic that is missing, of which no event came since, are sent when it is made.
func TestFramesOfATopicThatIsMissingWaitForIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := cluster(t, 1)
	edit := func(cfg *Config, d *Deps) { cfg.MoreTopics = []string{"t2"}; quickLooks(cfg, d) }
	s, _ := spooling(t, c, dir, edit)
	opened(t, s)
	want := spread(t, s, 0, 100, 2, nil)
	_ = s.Close(ended())
	s, _ = spooling(t, c, dir, edit)
	waitFor(t, func() bool { st := s.Stats(); return st.Spooled+st.InFlight == 100 && st.Recovered > 0 })
	makeTopic(t, c, "t2", 3)
	waitFor(t, func() bool { return s.Stats().Delivered == 200 }) // a stop does not wait for a topic that is missing
	closeSink(t, s)
	checkKeyed(t, consume(t, c, "t2", 100), want[1])
}

// A topic that no setting names any more is told at the start; its frames stay, and are sent once it is named again.
func TestFramesOfATopicThatIsNotSetAnyMore(t *testing.T) {
	dir := t.TempDir()
	c := cluster(t, 1, kfake.SeedTopics(2, "t2"))
	more := func(cfg *Config, d *Deps) { cfg.MoreTopics = []string{"t2"}; quickLooks(cfg, d) }
	s, n := spooling(t, c, dir, more)
	n.cut()
	opened(t, s)
	want := spread(t, s, 0, 100, 2, nil)
	_ = s.Close(ended())
	log := &logged{t: t}
	s, _ = spooling(t, c, dir, func(cfg *Config, d *Deps) { quickLooks(cfg, d); log.to(d) })
	waitFor(t, func() bool { st := s.Stats(); return st.Spooled == 100 && st.InFlight == 0 })
	waitFor(t, func() bool { return log.lines("no setting of this process", "--topic-platform", "topic=t2") > 0 })
	_ = s.Close(ended())
	s, _ = spooling(t, c, dir, more)
	closeSink(t, s)
	for i, name := range []string{"t", "t2"} {
		checkKeyed(t, consume(t, c, name, 100), want[i])
	}
}
