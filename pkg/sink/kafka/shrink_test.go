package kafka

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// TestATopicMadeAnewWithFewerPartitions: what waited for partitions that are no more is placed by the new count, in
// memory and on disk, as soon as that is certain; and so is what comes later.
func TestATopicMadeAnewWithFewerPartitions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		settle Settle
		spool  bool
		events int
	}{
		{"memory", SettleOnKafka, false, 500},
		{"much memory", SettleOnKafka, false, 20_000},
		{"memory beside a spool", SettleAtOnce, true, 200},
		{"disk", SettleAtOnce, true, 20_000},
		{"disk, waiting for it", SettleOnDisk, true, 5_000},
		{"disk, waiting for Kafka", SettleOnKafka, true, 500},
	} {
		for _, partitions := range []int32{1, 3} {
			t.Run(fmt.Sprint(tt.name, " ", partitions), func(t *testing.T) {
				t.Parallel()
				c := cluster(t, 8)
				n := &line{}
				edit := func(cfg *Config, d *Deps) {
					cfg.Settle, cfg.MetadataTTL, d.Dial = tt.settle, 100*time.Millisecond, n.dial
				}
				var s *Sink
				if tt.spool {
					s, n = spooling(t, c, t.TempDir(), func(cfg *Config, _ *Deps) { cfg.Settle = tt.settle })
				} else {
					s = start(t, c, edit)
				}
				appendAll(t, s, 100, 37, nil)
				waitFor(t, func() bool { return s.Stats().Delivered == 100 })
				n.cut()
				var ack ackCount
				want := appendAll(t, s, tt.events, 37, &ack)
				if st := s.Stats(); tt.spool && tt.settle == SettleAtOnce && tt.events > 1000 && st.Spooled == 0 {
					t.Fatalf("nothing is on disk: %+v", st)
				}
				remake(t, c.ListenAddrs(), "t", partitions)
				n.mend()
				waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.topics[0].lanes) == int(partitions) })
				for k, v := range appendAll(t, s, 500, 37, &ack) {
					want[k] = append(want[k], v...)
				}
				st := closeSink(t, s)
				balance(t, st, int64(100+tt.events+500))
				if st.Delivered != int64(100+tt.events+500) || st.Spooled != 0 || len(st.Dropped) != 0 {
					t.Errorf("stats %+v", st)
				}
				ack.check(t, 0)
				recs := consume(t, c, "t", tt.events+500)
				if len(recs) != tt.events+500 {
					t.Errorf("%d records, want %d", len(recs), tt.events+500)
				}
				for _, r := range recs {
					if r.Partition >= partitions {
						t.Fatalf("a record in partition %d", r.Partition)
					}
				}
			})
		}
	}
}

// remake deletes a topic and makes it anew.
func remake(t *testing.T, seeds []string, topic string, partitions int32) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	a := kadm.NewClient(cl)
	if _, err := a.DeleteTopic(patient(t), topic); err != nil {
		t.Fatal(err)
	}
	if _, err := a.CreateTopic(patient(t), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

// TestOneLookIsNoProof: a broker that is behind tells of fewer partitions than there are; nothing is placed anew for
// that.
func TestOneLookIsNoProof(t *testing.T) {
	s := start(t, cluster(t, 4), nil)
	waitFor(t, func() bool { return s.Ready() == nil })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster.noteFewerLocked(s.topics[0], 2)
	s.cluster.noteFewerLocked(s.topics[0], 3)
	s.cluster.noteFewerLocked(s.topics[0], 2)
	s.cluster.noteFewerLocked(s.topics[0], 2)
	if len(s.topics[0].lanes) != 4 {
		t.Error("lanes are gone")
	}
	s.cluster.noteFewerLocked(s.topics[0], 2)
	if len(s.topics[0].lanes) != 2 {
		t.Error("lanes are still there")
	}
}

// TestPartsWithFramesAreLeftToTheDisk: the parts of a batch have frames of their own as far as the disk took them, and their
// partition is gone. Those are placed from the disk, the others after them; none twice.
func TestPartsWithFramesAreLeftToTheDisk(t *testing.T) {
	_, l, _ := bench(t)
	framed, bare := holds(t, l, 1), holds(t, l, 1)
	l.children, l.queue = l.queue, nil
	l.topic.batches, framed.pos = 2, 2
	(&placer{core: l.topic.core}).evictHead(l)
	if !l.disk.any || l.disk.end != 2 || !slices.Equal(l.queue, []*batch{bare}) || l.topic.batches != 1 {
		t.Errorf("on disk %v up to %d, %d left, %d batches in memory", l.disk.any, l.disk.end, len(l.queue), l.topic.batches)
	}
}

// TestPartsWithFramesBehindOneWithout: a part with a frame was taken apart in its turn, and its partition is gone. What came out
// of it is placed in memory; the other parts have frames, which are placed from the disk, and only there.
func TestPartsWithFramesBehindOneWithout(t *testing.T) {
	s, l, _ := bench(t)
	top := l.topic
	top.addLanes(2)
	gone := top.lanes[1]
	bare, framed := holds(t, gone, 1), holds(t, gone, 1)
	gone.children, gone.queue = gone.queue, nil
	top.batches = 2
	whole := s.newBatch(gone)
	whole.pos, gone.disk.splitParent = 5, whole
	bare.parent, bare.coveredBy, framed.pos = whole, whole, 6

	top.fewer = fewer{partitions: 1, onDisk: true}
	if !(&placer{core: &s.core}).shrinkOnDisk(top) {
		t.Fatal("a request or a write is under way")
	}
	if len(l.queue) != 1 || len(gone.children) != 0 || !gone.disk.any || gone.disk.end != 6 {
		t.Errorf("%d batches are placed, %d parts left, on disk %v up to %d", len(l.queue), len(gone.children), gone.disk.any, gone.disk.end)
	}
}

// TestAFrameTakenApartEndsWhenItsPartsHaveFrames: a batch with a frame was taken apart and its partition is gone. What is left of
// it goes behind what its new partition has, also on disk, and the frame ends when that has a frame of its own, not only when it
// is acknowledged: the frames that follow wait for that.
func TestAFrameTakenApartEndsWhenItsPartsHaveFrames(t *testing.T) {
	s, l, _ := bench(t)
	top, p := l.topic, &placer{core: &s.core}
	top.addLanes(2)
	gone := top.lanes[1]
	part := holds(t, gone, 1)
	whole := s.newBatch(gone)
	whole.pos, gone.disk.splitParent = 5, whole
	part.parent, part.coveredBy = whole, whole
	gone.children, gone.queue = gone.queue, nil
	waits := waiting{whole, whole.life}
	l.extendDisk(3)

	top.fewer = fewer{partitions: 1, onDisk: true}
	if !p.shrinkOnDisk(top) {
		t.Fatal("a request or a write is under way")
	}
	unfinished := func() bool { return s.disk.unfinished[unplacedQueue{top.name, 1}].under() }
	if len(l.queue) != 1 || len(l.children) != 0 || l.unframed() != l.queue[0] || !unfinished() || !p.goesOn {
		t.Fatalf("%d batches behind what the partition has on disk, %d before it; the frame waits: %v", len(l.queue), len(l.children), unfinished())
	}
	s.later(l.queue[0].unpin(nil)) // it has a frame
	if len(s.disk.ended) != 1 || s.disk.ended[0].pos != 5 || !unfinished() {
		t.Fatalf("the frame did not end: %v", s.disk.ended)
	}
	gone.disk.closing = false // that is written down
	if unfinished() || !waits.alive() {
		t.Errorf("what follows waits: %v; its source is told too soon: %v", unfinished(), !waits.alive())
	}
	s.later(s.finish(l.queue[0], 0, nil))
	if waits.alive() || len(s.disk.ended) != 1 {
		t.Errorf("the batch lives: %v, and its frame ended %d times", waits.alive(), len(s.disk.ended))
	}
}

// TestAFrameTakenApartWaitsForWhatHasLeftMemory: what came out of a batch that was taken apart has a frame of its own, which is
// not synced yet, and has left memory for it. The frame of the batch stays until it is.
func TestAFrameTakenApartWaitsForWhatHasLeftMemory(t *testing.T) {
	s, l, _ := bench(t)
	top := l.topic
	top.addLanes(2)
	gone := top.lanes[1]
	whole, letter := s.newBatch(gone), s.newBatch(l)
	whole.pos, gone.disk.splitParent = 5, whole
	letter.pos, letter.pins = 7, whole // its only part
	l.disk.spilled = append(l.disk.spilled, letter)

	top.fewer = fewer{partitions: 1, onDisk: true}
	if !(&placer{core: &s.core}).shrinkOnDisk(top) {
		t.Fatal("a request or a write is under way")
	}
	if len(s.disk.ended) != 0 {
		t.Fatalf("a frame ended: %v", s.disk.ended)
	}
	s.later(letter.unpin(nil)) // it is synced
	if len(s.disk.ended) != 1 || s.disk.ended[0].pos != 5 {
		t.Errorf("the frame did not end: %v", s.disk.ended)
	}
}

// TestAFrameTakenApartBeforeItWasSent: a batch with a frame was too large for the broker, so its parts are sent in its place, and
// nothing of it was when its partition went. A kill from here on lets the frame come back, and no later process knows that its
// parts may have arrived.
func TestAFrameTakenApartBeforeItWasSent(t *testing.T) {
	for _, sent := range []int{0, 1} {
		s, l, _ := bench(t)
		top := l.topic
		top.addLanes(2)
		gone := top.lanes[1]
		first, second := holds(t, gone, 2), holds(t, gone, 3)
		whole := s.newBatch(gone)
		whole.pos, whole.attempts, gone.disk.splitParent = 5, sent, whole
		for _, b := range gone.queue {
			b.parent, b.coveredBy = whole, whole
			whole.unsettledParts++
		}
		gone.children, gone.queue = gone.queue, nil

		top.fewer = fewer{partitions: 1, onDisk: true}
		if !(&placer{core: &s.core}).shrinkOnDisk(top) {
			t.Fatal("a request or a write is under way")
		}
		want := int64(5) // what was sent is known on disk as in doubt
		if sent > 0 {
			want = 0
		}
		if n := s.possibleDuplicates.Load(); n != want || first.coveredBy != nil || second.coveredBy != nil {
			t.Errorf("sent %d times: %d possible duplicates, want %d", sent, n, want)
		}
	}
}

// TestNobodyElseChangesPartitionsWhileFramesArePlaced: a frame is being written for a partition, which looks idle until that is
// done. Were the count changed now, later frames of a key would have their place elsewhere, before it.
func TestNobodyElseChangesPartitionsWhileFramesArePlaced(t *testing.T) {
	s, l, sp := benchOnDisk(t)
	top := l.topic
	top.addLanes(2)
	for _, l := range top.lanes {
		l.attach(sp)
	}
	top.grow = 3
	if !s.tryGrowLocked(top) || len(top.lanes) != 2 || top.grow != 3 {
		t.Errorf("%d partitions are in use, %d are to be", len(top.lanes), top.grow)
	}
	top.grow, top.fewer = 0, fewer{partitions: 1, looks: shrinkLooks}
	if s.shrink(top, 1) || len(top.lanes) != 2 || !top.fewer.onDisk {
		t.Errorf("%d partitions are in use; left to the spooler: %v", len(top.lanes), top.fewer.onDisk)
	}
	if !s.spooler.placer.shrinkOnDisk(top) || len(top.lanes) != 1 {
		t.Errorf("%d partitions are in use when it has its turn", len(top.lanes))
	}

	s.disk.holding, top.grow = false, 3
	if !s.tryGrowLocked(top) || len(top.lanes) != 1 { // behind what waits without a partition
		t.Errorf("%d partitions are in use beside what is not placed", len(top.lanes))
	}
	top.unassigned = nil
	if !s.tryGrowLocked(top) || len(top.lanes) != 3 {
		t.Errorf("%d partitions are in use when nothing is placed", len(top.lanes))
	}
}

// TestWhatIsPlacedGoesBehindWhatIsOpen: a batch that is open in a lane came before what is placed there, and before what has
// waited without a partition, in memory or on disk.
func TestWhatIsPlacedGoesBehindWhatIsOpen(t *testing.T) {
	s, l, _ := bench(t)
	open := holds(t, l, 1)
	l.open, l.queue = open, nil
	s.topics[0].batches = 1
	other := &lane{topic: l.topic, partition: 1}
	s.enqueue(l, holds(t, other, 1))
	if len(l.queue) != 2 || l.queue[0] != open || l.open != nil {
		t.Errorf("%d batches wait, open %v", len(l.queue), l.open != nil)
	}

	s, l, sp := benchOnDisk(t)
	open = holds(t, l, 1)
	l.open, l.queue = open, nil
	s.topics[0].batches = 1
	if err := s.spooler.placer.stow(l.topic, sp.Queue("t", unassignedPartition)); err != nil {
		t.Fatal(err)
	}
	if l.open != nil || open.pos == 0 {
		t.Error("it has no frame: those that are placed go before it")
	}
}

// What a partition that is gone has in memory, behind a part with a frame, gets its frame before what came after it.
func TestPartsOfAPartitionThatIsGoneGoBeforeItsQueue(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	first, second, third := holds(t, l, 1), holds(t, l, 1), holds(t, l, 1)
	first.pos = 1
	l.children, l.queue = []*batch{first, second}, []*batch{third}
	for _, b := range l.children {
		b.child = true
	}
	s.topics[0].batches = 3
	l.topic.lanes, l.topic.gone = nil, []*lane{l}
	s.spooler.placer.evictHead(l)
	if work := l.claim(nil); !slices.Equal(work, []*batch{second, third}) {
		t.Errorf("%d of 2 get frames, the part first: %v", len(work), len(work) > 0 && work[0] == second)
	}
}

// benchOnDisk is bench with an open spool, while frames are placed.
func benchOnDisk(t *testing.T) (*Sink, *lane, diskqueue.Spool) {
	t.Helper()
	sp, err := openTestSpool(t, t.TempDir(), 64<<20)()
	if err != nil {
		t.Fatal(err)
	}
	return benchOn(t, sp)
}

func benchOn(t *testing.T, sp diskqueue.Spool) (*Sink, *lane, diskqueue.Spool) {
	t.Helper()
	s, l, _ := bench(t)
	s.disk.sp, s.disk.holding = sp, true
	s.spooler.writer.writing = newSlot()
	l.attach(sp)
	return s, l, sp
}

// TestPartitionsThatGoLaterArePlacedFirst: what was placed of a partition that is gone, in one that goes after it, goes before
// what is left of the first one.
func TestPartitionsThatGoLaterArePlacedFirst(t *testing.T) {
	s := &core{log: slog.New(slog.DiscardHandler)}
	top := &topic{core: s, limit: 1 << 20}
	s.topics, s.all = []*topic{top}, []*topic{top}
	s.giveUpStuck = func(*topic, int) int64 { return 0 }
	s.roomMade, s.cfg.OversizeBytes = make(chan struct{}), 1<<20
	top.addLanes(3)
	p := &placer{core: s}
	put := func(l *lane, value string) {
		r := sink.Record{Key: []byte("k"), Value: []byte(value), Timestamp: 1}
		b := s.privateBatch(l, &r, nil, recordbatch.RecordSize(r.Key, r.Value, nil))
		b.events = 1
		s.enqueue(l, b)
	}
	put(top.lanes[2], "second")
	for _, n := range []int{2, 1} {
		top.fewer = fewer{partitions: n, onDisk: true}
		if n == 1 {
			put(top.lanes[1], "first") // was placed there
		}
		if !p.shrinkOnDisk(top) {
			t.Fatal("a request or a write is under way")
		}
	}
	var carried []waiting
	if !p.placeGone(top, 2, &carried) || len(top.gone) != 1 || !p.placeGone(top, unassignedPartition, &carried) || len(top.gone) != 0 {
		t.Errorf("%d lanes are left", len(top.gone))
	}
	var got []string
	for _, b := range top.lanes[0].queue {
		_ = b.rb.Records(func(_ int64, _, value []byte, _ []sink.Header) bool { got = append(got, string(value)); return true })
	}
	if want := []string{"first", "second"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The batch in doubt of a partition that is gone gives its stamp back when it is placed: the partition may come again before
// the rest is.
func TestPartitionsThatComeBackWhileTheirMemoryIsPlaced(t *testing.T) {
	t.Parallel()
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.BatchBytes, cfg.BufferBytes, cfg.OversizeBytes = recordbatch.ChunkSize, 64*recordbatch.ChunkSize, 64<<10
		cfg.MetadataTTL, cfg.StuckPartition = 100*time.Millisecond, StuckBlock
	})
	appendAll(t, s, 100, 37, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 100 })
	fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.NotEnoughReplicas, Count: -1})
	var ack ackCount
	appendAll(t, s, 5000, 37, &ack)
	waitForFailure(t, s, func() *lane { return s.topics[0].lanes[1] })
	remake(t, c.ListenAddrs(), "t", 1)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].fewer.placing })
	remake(t, c.ListenAddrs(), "t", 2)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].fewer == fewer{} })
	fault.Remove()
	waitFor(t, func() bool { return s.Stats().Delivered == 5100 })
	ack.check(t, 0)
}

// A dead-letter topic that had four partitions, then two, four and three: those that are gone are 3 (lately), 2 and 3 (before).
// One that has been placed is gone for good, and no other in its stead.
func TestPartitionsThatAreGoneTwice(t *testing.T) {
	t.Parallel()
	s, n := spooling(t, cluster(t, 1, kfake.SeedTopics(4, "t.dlq")), "", nil)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	n.cut()
	d := &s.dead
	removes := func(left int) {
		gone := slices.Clone(d.lanes[left:])
		s.removeLanes(d, left)
		d.gone = append(gone, d.gone...)
	}
	s.mu.Lock()
	d.addLanes(4)
	removes(2)
	d.addLanes(4) // as applyLocked does for dead letters, whatever waits
	last := d.lanes[3]
	removes(3)
	s.mu.Unlock()
	var arriving []waiting
	s.spooler.placer.placeGone(d, 3, &arriving)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(d.gone, last) || len(d.gone) != 2 {
		t.Errorf("%d are left to be placed, and the one that is gone lately is one of them: %v", len(d.gone), slices.Contains(d.gone, last))
	}
}
