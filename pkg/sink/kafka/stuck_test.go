package kafka

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// stuckPlaces makes a broker refuse all batches for some partitions, for as long as the switch is on.
type stuckPlaces struct {
	places map[place]bool
	on     atomic.Bool
}

func stick(c *kfake.Cluster, places ...place) *stuckPlaces {
	st := &stuckPlaces{places: map[place]bool{}}
	for _, p := range places {
		st.places[p] = true
	}
	st.on.Store(true)
	c.ControlKey(0, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		hit := false
		for _, t := range req.Topics {
			for _, p := range t.Partitions {
				hit = hit || st.places[place{t.Topic, p.Partition}]
			}
		}
		if !hit || !st.on.Load() {
			return nil, nil, false
		}
		return answerAll(req, func(topic string, p int32) int16 {
			if st.places[place{topic, p}] {
				return kerr.KafkaStorageError.Code
			}
			return kerr.NotEnoughReplicas.Code // goes again, with the stuck one or without
		}), nil, true
	})
	return st
}

// stuckSink has little memory. Each partition's leader is a broker of its own, so that no request carries a stuck
// partition beside a healthy one.
func stuckSink(t *testing.T, c *kfake.Cluster, edit func(*Config, *Deps)) *Sink {
	return start(t, c, func(cfg *Config, d *Deps) {
		cfg.BatchBytes, cfg.BufferBytes = recordbatch.ChunkSize, 16*recordbatch.ChunkSize
		cfg.OversizeBytes = 4 * recordbatch.ChunkSize
		d.stuckAfter = 100 * time.Millisecond
		if edit != nil {
			edit(cfg, d)
		}
	})
}

func ownBrokers(t *testing.T, topics map[string]int32) *kfake.Cluster {
	c := cluster(t, topics["t"], kfake.NumBrokers(4), kfake.SeedTopics(max(topics["t.dlq"], 1), "t.dlq"))
	for topic, n := range topics {
		for p := range n {
			node := p
			if topic == "t.dlq" {
				node = p + 2
			}
			if err := c.MoveTopicPartition(topic, p, node); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// keysOf are keys that belong to a partition of n.
func keysOf(partition, n, count int) (keys []string) {
	for i := 0; len(keys) < count; i++ {
		if k := fmt.Sprint("key-", i); recordbatch.Partition([]byte(k), n) == partition {
			keys = append(keys, k)
		}
	}
	return keys
}

// waitForFailure waits until a partition has failed.
func waitForFailure(t *testing.T, s *Sink, of func() *lane) {
	t.Helper()
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return of().failures > 0
	})
}

// pump appends count records of each list of keys in turn.
func pump(t *testing.T, s *Sink, count int, keys [][]string, ack sink.Ack) {
	t.Helper()
	ctx := patient(t)
	for i := range count {
		for _, list := range keys {
			r := sink.Record{Value: fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 500)), Timestamp: 1}
			if list != nil {
				r.Key = []byte(list[i%len(list)])
			}
			if n, err := s.Append(ctx, []sink.Record{r}, ack); err != nil || n != 1 {
				t.Fatalf("append %d: %v; one partition has stopped the others: %+v", i, err, s.Stats())
			}
		}
	}
}

// One partition of two cannot move. What belongs to the other goes on, what belongs to it waits up to its share and is
// dead-lettered beyond.
func TestOneStuckPartitionDoesNotStopTheOthers(t *testing.T) {
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	st := stick(c, place{"t", 0})
	s := stuckSink(t, c, nil)
	var ack ackCount
	pump(t, s, 2000, [][]string{keysOf(0, 2, 5), keysOf(1, 2, 5)}, &ack)
	waitFor(t, func() bool { return s.Stats().Delivered >= 2000 })
	st.on.Store(false)
	stats := closeSink(t, s)
	ack.check(t, 0)
	if stats.Delivered+stats.DeadLettered != 4000 || stats.DeadLettered < 1000 || len(stats.Dropped) != 0 {
		t.Errorf("stats %+v", stats)
	}
	for _, r := range consume(t, c, "t.dlq", int(stats.DeadLettered)) {
		if header(r, HeaderReason) != "partition_unavailable" || header(r, HeaderTopic) != "t" || header(r, headerPartition) != "0" || len(r.Key) == 0 {
			t.Fatalf("dead letter with key %q and headers %v", r.Key, r.Headers)
		}
	}
}

// The dead-letter topic cannot move either: what is beyond the share is dropped, counted, and told to its source.
func TestAStuckPartitionWithAStuckDeadLetterTopic(t *testing.T) {
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	st := stick(c, place{"t", 0}, place{"t.dlq", 0})
	s := stuckSink(t, c, nil)
	var healthy, stuck ackCount
	for i := range 40 {
		pump(t, s, 50, [][]string{keysOf(1, 2, 5)}, &healthy)
		pump(t, s, 50, [][]string{keysOf(0, 2, 5)}, &stuck)
		if i > 0 {
			continue
		}
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("x"), Reason: "bad_value"}, &stuck); err != nil {
			t.Fatal(err)
		}
		// What the healthy partition acknowledges from here on shows that the cluster works.
		waitForFailure(t, s, func() *lane { return s.topics[0].lanes[0] })
		waitForFailure(t, s, func() *lane { return s.dead.lanes[0] })
	}
	waitFor(t, func() bool { return s.Stats().Delivered >= 2000 })
	s.mu.Lock()
	held := s.dead.held
	s.mu.Unlock()
	st.on.Store(false)
	stats := closeSink(t, s)
	healthy.check(t, 0)
	stuck.check(t, int(stats.Dropped[DroppedUnavailable]))
	if got := stats.Delivered + stats.DeadLettered + stats.Dropped[DroppedUnavailable]; got != 4001 || stats.Dropped[DroppedUnavailable] == 0 {
		t.Errorf("stats %+v", stats)
	}
	if share := s.cfg.BufferBytes / deadLetterShare; held < share/2 || held > share+recordbatch.ChunkSize {
		t.Errorf("dead letters hold %d bytes while events are dropped, their share is %d", held, share)
	}
}

// The dead-letter topic alone cannot move: bad elements beyond its share are dropped and counted, good events go on.
func TestAStuckDeadLetterTopicDoesNotStopGoodEvents(t *testing.T) {
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	st := stick(c, place{"t.dlq", 0})
	s := stuckSink(t, c, nil)
	var good, bad ackCount
	ctx := patient(t)
	for i := range 2000 {
		pump(t, s, 1, [][]string{{fmt.Sprint("k", i)}}, &good)
		if err := s.DeadLetter(ctx, &sink.DeadLetter{Raw: []byte(strings.Repeat("y", 500)), Reason: "bad_value"}, &bad); err != nil {
			t.Fatalf("dead letter %d: %v, %+v", i, err, s.Stats())
		}
	}
	waitFor(t, func() bool { return s.Stats().Delivered == 2000 })
	st.on.Store(false)
	stats := closeSink(t, s)
	good.check(t, 0)
	lost := stats.Dropped["dead_letter_unavailable"]
	bad.check(t, int(lost))
	if lost == 0 || stats.DeadLettered+lost != 2000 {
		t.Errorf("stats %+v", stats)
	}
}

// The source that waits for room for a dead letter is the one that would bring good events. None is under way to show
// that the cluster works, and the dead letters must not wait for one.
func TestDeadLettersAloneDoNotWaitForGoodEvents(t *testing.T) {
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	st := stick(c, place{"t.dlq", 0})
	s := stuckSink(t, c, nil)
	var good, bad ackCount
	pump(t, s, 100, [][]string{keysOf(0, 2, 5)}, &good)
	waitFor(t, func() bool { return s.Stats().Delivered == 100 })
	ctx := patient(t)
	for i := range 500 {
		if err := s.DeadLetter(ctx, &sink.DeadLetter{Raw: []byte(strings.Repeat("y", 500)), Reason: "bad_value"}, &bad); err != nil {
			t.Fatalf("dead letter %d: %v, %+v", i, err, s.Stats())
		}
	}
	pump(t, s, 100, [][]string{keysOf(1, 2, 5)}, &good)
	waitFor(t, func() bool { return s.Stats().Delivered == 200 })
	st.on.Store(false)
	stats := closeSink(t, s)
	good.check(t, 0)
	lost := stats.Dropped["dead_letter_unavailable"]
	bad.check(t, int(lost))
	if lost == 0 || stats.DeadLettered+lost != 500 {
		t.Errorf("stats %+v", stats)
	}
}

// Events without a key go where something moves.
func TestKeylessEventsLeaveAStuckPartition(t *testing.T) {
	for _, keyless := range []Keyless{KeylessSticky, KeylessInstance} {
		t.Run(fmt.Sprint(keyless), func(t *testing.T) {
			c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
			st := stick(c, place{"t", 0})
			s := stuckSink(t, c, func(cfg *Config, _ *Deps) {
				cfg.Keyless, cfg.Instance = keyless, keysOf(0, 2, 1)[0]
			})
			var ack ackCount
			pump(t, s, 2000, [][]string{nil, keysOf(1, 2, 3)}, &ack)
			waitFor(t, func() bool { return s.Stats().Delivered >= 3000 })
			st.on.Store(false)
			stats := closeSink(t, s)
			ack.check(t, 0)
			if stats.Delivered != 4000 || stats.DeadLettered != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

// Nothing moves at all: nothing is dead-lettered or dropped, Append waits.
func TestATotalOutageDeadLettersNothing(t *testing.T) {
	t.Parallel()
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	var ack ackCount
	// Within this time after the end of the outage both must move: more than a busy machine needs, less than it lasts.
	s := stuckSink(t, c, func(_ *Config, d *Deps) { d.stuckAfter = 3 * time.Second })
	pump(t, s, 10, [][]string{keysOf(0, 2, 5), keysOf(1, 2, 5)}, &ack)
	waitFor(t, func() bool { return s.Stats().Delivered == 20 })
	st := stick(c, place{"t", 0}, place{"t", 1})
	release := time.AfterFunc(4*time.Second, func() { st.on.Store(false) })
	defer release.Stop()
	pump(t, s, 1000, [][]string{keysOf(0, 2, 5), keysOf(1, 2, 5)}, &ack) // more than fits
	stats := closeSink(t, s)
	ack.check(t, 0)
	if stats.Delivered != 2020 || stats.DeadLettered != 0 || len(stats.Dropped) != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// Large events of a stuck partition leave room for those of others.
func TestLargeEventsOfAStuckPartitionDoNotStopOthers(t *testing.T) {
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	st := stick(c, place{"t", 0})
	s := stuckSink(t, c, nil)
	var ack ackCount
	ctx := patient(t)
	stuck, healthy := keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]
	for i := range 100 {
		for _, key := range []string{stuck, healthy} {
			r := sink.Record{Key: []byte(key), Value: []byte(fmt.Sprint(i, strings.Repeat("z", 2*recordbatch.ChunkSize))), Timestamp: 1}
			if _, err := s.Append(ctx, []sink.Record{r}, &ack); err != nil {
				t.Fatalf("append %d of %s: %v, %+v", i, key, err, s.Stats())
			}
		}
	}
	waitFor(t, func() bool { return s.Stats().Delivered >= 100 })
	st.on.Store(false)
	stats := closeSink(t, s)
	ack.check(t, 0)
	if stats.Delivered+stats.DeadLettered != 200 || len(stats.Dropped) != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// Partitions are added while one cannot move: events for the others go on.
func TestGrowthBesideAStuckPartition(t *testing.T) {
	t.Parallel()
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	st := stick(c, place{"t", 0})
	s := stuckSink(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = 50 * time.Millisecond })
	var ack ackCount
	pump(t, s, 5, [][]string{keysOf(0, 2, 5), keysOf(1, 2, 5)}, &ack)
	addPartitions(t, c, "t", 4)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].grow == 4 })
	pump(t, s, 20, [][]string{keysOf(1, 4, 5), keysOf(3, 4, 5)}, &ack)
	waitFor(t, func() bool { return s.Stats().Delivered >= 45 })
	st.on.Store(false)
	stats := closeSink(t, s)
	ack.check(t, 0)
	if stats.Delivered != 50 {
		t.Errorf("stats %+v", stats)
	}
}

func addPartitions(t *testing.T, c *kfake.Cluster, topic string, total int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).UpdatePartitions(patient(t), total, topic); err != nil {
		t.Fatal(err)
	}
}

// TestAPartitionFailsSinceItsLeaderIsSilent: the cluster tells only later that there is no leader. A dead-letter partition
// that began to fail then had no partition beside it that was acknowledged since, if memory was full by that time, and
// all waited for it.
func TestAPartitionFailsSinceItsLeaderIsSilent(t *testing.T) {
	s := &core{}
	silent := time.Now().Add(-time.Minute)
	for want, b := range map[time.Time]*broker{silent: {silentSince: silent}, {}: {}} {
		l := &lane{topic: &topic{core: s}, broker: b}
		b.lanes = append(b.lanes, l)
		s.lead(l, nil)
		if want.IsZero() && time.Since(l.stuckSince) > 30*time.Second || !want.IsZero() && !l.stuckSince.Equal(want) {
			t.Errorf("it fails since %v; its leader is silent since %v", l.stuckSince, want)
		}
	}
}

// TestAPartitionWithoutALeaderBesideOnesWithNothingToSend: all sources may wait for room that only this partition can free,
// so none is acknowledged. That others have a leader, while the cluster is heard, shows that it works.
func TestAPartitionWithoutALeaderBesideOnesWithNothingToSend(t *testing.T) {
	old, fresh := time.Now().Add(-time.Minute), time.Now()
	for _, tt := range []struct {
		name         string
		leader       bool      // of the partition that fails
		led          time.Time // since when the other one has a leader; zero: it has none
		fails, sends bool      // the other one
		reached      time.Time // the cluster, since when
		want         bool
	}{
		{"idle", false, old, false, false, old, true},
		{"with a leader", true, old, false, false, old, false},
		{"none has a leader", false, time.Time{}, true, false, old, false},
		{"a leader that is new", false, fresh, false, false, old, false},
		{"the other fails", false, old, true, false, old, false},
		{"the other has something to send", false, old, false, true, old, false},
		{"a cluster that is back", false, old, false, false, fresh, false},
	} {
		s := &core{deps: Deps{stuckAfter: stuckAfter}, reachedSince: tt.reached}
		main := &topic{core: s}
		main.addLanes(2)
		s.topics = []*topic{main}
		l, other := main.lanes[0], main.lanes[1]
		l.stuckSince = old
		if tt.leader {
			l.broker = &broker{}
		}
		if !tt.led.IsZero() {
			s.lead(other, &broker{wake: make(chan struct{}, 1)})
			other.ledSince = tt.led
		}
		if other.stuckSince = (time.Time{}); tt.fails {
			other.stuckSince = old
		}
		if tt.sends {
			other.queue = []*batch{{lane: other}}
		}
		if got := (&room{core: s}).isStuck(l, fresh); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestWhatWaitsToBePlacedIsNotStuck: a topic was missing and is found, so its events wait for memory, not for a partition
// that cannot move.
func TestWhatWaitsToBePlacedIsNotStuck(t *testing.T) {
	c := cluster(t, 1)
	s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
		cfg.MoreTopics, cfg.MetadataTTL = three[1:2], 50*time.Millisecond
		d.OpenSpool = alwaysFull(d.OpenSpool)
	})
	failing := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		l := s.topics[1].unassigned
		return l != nil && !l.stuckSince.IsZero()
	}
	if _, err := s.Append(patient(t), []sink.Record{{Topic: 1, Key: []byte("k"), Value: []byte("v"), Timestamp: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, failing)
	s.mu.Lock()
	s.cluster.applyLocked(s.topics[1], leaders{brokers: []int32{0}})
	l := s.topics[1].unassigned
	stuck := l != nil && !l.stuckSince.IsZero()
	s.mu.Unlock()
	if l == nil || stuck {
		t.Errorf("lane %v fails: %v", l != nil, stuck)
	}
	makeTopic(t, c, "t2", 1)
	waitFor(t, func() bool { return s.Stats().Delivered == 1 })
	closeSink(t, s)
}

// A partition whose last record became a dead letter a while ago, and that has nothing to send, is none that cannot move: its
// next event that finds no room at once does not go to the dead letters.
func TestAGoodEventBehindAnOldRefusal(t *testing.T) {
	t.Parallel()
	c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
	refuseBad(c, false)
	var slow atomic.Bool
	s := stuckSink(t, c, nil)
	keys := []string{keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]}
	appendRecords(t, s, nil, record(keys[0], 0), record(keys[1], 0))
	waitFor(t, func() bool { return s.Stats().Delivered == 2 })
	for i := range 2 {
		bad := record(keys[1], 1+i)
		bad.Value = append(bad.Value, " bad"...)
		appendRecords(t, s, nil, bad)
		waitFor(t, func() bool { return s.Stats().DeadLettered == int64(1+i) })
		time.Sleep(1500 * time.Millisecond) // the first one asks for a look at the cluster, for the dead-letter topic
	}
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		for _, tp := range r.(*kmsg.ProduceRequest).Topics {
			for _, p := range tp.Partitions {
				if tp.Topic == "t" && p.Partition == 0 && slow.Load() {
					c.SleepControl(func() { time.Sleep(500 * time.Millisecond) })
				}
			}
		}
		return nil, nil, false
	})
	for i := range 20 { // the other partition moves
		appendRecords(t, s, nil, record(keys[0], 10+i))
		time.Sleep(20 * time.Millisecond)
	}
	waitFor(t, func() bool { return s.Stats().InFlight == 0 })
	slow.Store(true)
	large := func(key string) sink.Record {
		return sink.Record{Key: []byte(key), Value: []byte(strings.Repeat("x", 25000)), Timestamp: begin}
	}
	appendRecords(t, s, nil, large(keys[0]), large(keys[0])) // all that is left beside the buffers
	appendRecords(t, s, nil, large(keys[1]))
	slow.Store(false)
	waitFor(t, func() bool { return s.Stats().InFlight == 0 })
	if st := s.Stats(); st.DeadLettered != 2 || st.Delivered != 25 {
		t.Errorf("a good event of a partition that has nothing to send became a dead letter: %+v", st)
	}
}
