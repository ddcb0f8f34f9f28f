package kafka

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// unusableDeadTopic are the ways in which a dead-letter topic takes nothing.
var unusableDeadTopic = []struct {
	name  string
	fault kfake.Fault
	seed  bool // it is there
}{
	{"may not be created", kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed, Count: -1}, false},
	{"may not be written", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t.dlq", Err: kerr.TopicAuthorizationFailed, Count: -1}, true},
	{"has too few replicas", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t.dlq", Err: kerr.NotEnoughReplicas, Count: -1}, true},
	{"has too few replicas after the append", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t.dlq", Err: kerr.NotEnoughReplicasAfterAppend, Count: -1}, true},
}

// A refused record that no dead-letter topic takes stops neither its partition nor another one, where its batch has a
// frame on disk. It stays there until the topic takes it, in the next process too.
func TestARefusedRecordOnDiskHoldsNothingUp(t *testing.T) {
	t.Parallel()
	for _, dead := range unusableDeadTopic {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/named=%v", dead.name, named), func(t *testing.T) {
				t.Parallel()
				opts := []kfake.Opt{}
				if dead.seed {
					opts = append(opts, kfake.SeedTopics(1, "t.dlq"))
				}
				c := cluster(t, 2, opts...)
				refuseBad(c, named)
				fault := c.Fault(dead.fault)
				disk := newTestDisk(t)
				onDisk := func(cfg *Config, d *Deps) {
					cfg.Settle, cfg.Linger, d.OpenSpool = SettleOnDisk, 5*time.Millisecond, disk.Open
				}
				s := start(t, c, onDisk)
				var ack ackCount
				put := func(key string, n int, text string) {
					t.Helper()
					r := record(key, n)
					r.Value = append(r.Value, text...)
					if _, err := s.Append(patient(t), []sink.Record{r}, &ack); err != nil {
						t.Fatal(err)
					}
				}
				same, other := keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]
				put(same, 0, "")
				put(same, 1, " bad")
				for i := 2; i < 101; i++ {
					put(same, i, "")
					put(other, i, "")
				}
				waitFor(t, func() bool { return s.Stats().Delivered == 199 })
				ack.check(t, 0)
				s.Close(ended())

				fault.Remove()
				next := start(t, c, onDisk)
				waitFor(t, func() bool { st := next.Stats(); return st.DeadLettered == 1 && st.InFlight+st.Spooled == 0 })
				if st := next.Stats(); len(st.Dropped) != 0 || st.PossibleDuplicates > 1 || st.Delivered != 0 { // one that Close has cut off
					t.Errorf("stats %+v", st)
				}
				if r := consume(t, c, "t.dlq", 1)[0]; string(r.Key) != same || !bytes.Contains(r.Value, []byte("bad")) {
					t.Errorf("dead letter %s of %s", r.Value, r.Key)
				}
			})
		}
	}
}

// What a former process left is taken apart by one that gives nothing else a frame.
func TestARefusedRecordOfAFormerProcessHoldsNothingUp(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleOnKafka, SettleAtOnce} {
		c := cluster(t, 1)
		refuseBad(c, true)
		create := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		disk := newTestDisk(t)
		s := start(t, c, func(cfg *Config, d *Deps) {
			cfg.Brokers, cfg.Settle, d.OpenSpool = []string{"127.0.0.1:1"}, SettleOnDisk, disk.Open
		})
		var ack ackCount
		for i := range 10 {
			r := record("k", i)
			if i == 3 {
				r.Value = append(r.Value, " bad"...)
			}
			if _, err := s.Append(patient(t), []sink.Record{r}, &ack); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.done == ack.held })
		s.Close(ended())
		s = start(t, c, func(cfg *Config, d *Deps) { cfg.Settle, d.OpenSpool = settle, disk.Open })
		appendAll(t, s, 20, 1, nil)
		waitFor(t, func() bool { return s.Stats().Delivered == 29 })
		create.Remove()
		s.Close(ended())
		if st := s.Stats(); st.Spooled != 1 || len(st.Dropped) != 0 {
			t.Errorf("stats %+v", st)
		}
		s = start(t, c, func(cfg *Config, d *Deps) { cfg.Settle, d.OpenSpool = settle, disk.Open })
		waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })
	}
}

// A disk that runs full keeps the dead letter from its frame, and the topic takes it neither: it is dropped, counted, and
// its partition goes on.
func TestARefusedRecordThatNeitherDiskNorTopicTakes(t *testing.T) {
	t.Parallel()
	for _, dead := range unusableDeadTopic {
		// Where the topic has one partition, no other moves; where that of the dead letters has several, most have nothing to send.
		for _, count := range []struct{ main, dead int }{{1, 1}, {2, 1}, {1, 3}} {
			t.Run(fmt.Sprintf("%s, %d and %d partitions", dead.name, count.main, count.dead), func(t *testing.T) {
				t.Parallel()
				partitions := count.main
				opts := []kfake.Opt{}
				if dead.seed {
					opts = append(opts, kfake.SeedTopics(int32(count.dead), "t.dlq"))
				}
				c := cluster(t, int32(partitions), opts...)
				disk := newTestDisk(t)
				fillAtBad(c, disk)
				refuseBad(c, true)
				c.Fault(dead.fault)
				s := start(t, c, func(cfg *Config, d *Deps) {
					cfg.Settle, cfg.Linger, d.OpenSpool, d.stuckAfter = SettleOnDisk, 5*time.Millisecond, disk.Open, 100*time.Millisecond
				})
				key := func(n int) string { return keysOf(n%partitions, partitions, 1)[0] }
				bad := record(key(0), 0)
				bad.Value = append(bad.Value, " bad"...)
				var ack ackCount
				if _, err := s.Append(patient(t), []sink.Record{bad}, &ack); err != nil {
					t.Fatal(err)
				}
				n := 0
				waitFor(t, func() bool { // others have to move for a while until a partition counts as stuck
					n += 2
					appendRecords(t, s, &ack, record(key(0), n), record(key(1), n))
					return s.Stats().Dropped[droppedDeadUnavailable] == 1
				})
				waitFor(t, func() bool { return s.Stats().Delivered == int64(n) })
				waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.held == ack.done })
				if st := s.Stats(); st.Admitted != int64(n)+1 || st.InFlight+st.Spooled != 0 {
					t.Errorf("stats %+v", st)
				}
			})
		}
	}
}

// fillAtBad lets the disk run full when a bad record arrives: its frame is there, that of its dead letter finds no room.
func fillAtBad(c *kfake.Cluster, disk *testDisk) {
	onProduce(c, func(topic string, p *kmsg.ProduceRequestTopicPartition) bool {
		if topic == "t" && badRecords(p.Records) != nil {
			disk.Limit(0)
		}
		return false
	})
}

// onProduce shows each batch of a produce request to fails. If that is true of one, the request is answered with
// NOT_ENOUGH_REPLICAS.
func onProduce(c *kfake.Cluster, fails func(topic string, p *kmsg.ProduceRequestTopicPartition) bool) {
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req, hit := r.(*kmsg.ProduceRequest), false
		for _, t := range req.Topics {
			for i := range t.Partitions {
				hit = fails(t.Topic, &t.Partitions[i]) || hit
			}
		}
		if !hit {
			return nil, nil, false
		}
		return answerAll(req, func(string, int32) int16 { return kerr.NotEnoughReplicas.Code }), nil, true
	})
}

// A disk that runs full keeps the dead letter from its frame, and its partition of the topic takes nothing: another one does.
func TestADeadLetterThatItsPartitionDoesNotTake(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, kfake.SeedTopics(3, "t.dlq"))
	disk := newTestDisk(t)
	fillAtBad(c, disk)
	refuseBad(c, true)
	var mu sync.Mutex
	bad := map[int32]bool{} // the first two that are asked
	onProduce(c, func(topic string, p *kmsg.ProduceRequestTopicPartition) bool {
		mu.Lock()
		defer mu.Unlock()
		if topic == "t.dlq" && len(bad) < 2 {
			bad[p.Partition] = true
		}
		return topic == "t.dlq" && bad[p.Partition]
	})
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.Linger, d.OpenSpool, d.stuckAfter = SettleOnDisk, 5*time.Millisecond, disk.Open, 100*time.Millisecond
	})
	var ack ackCount
	appendRecords(t, s, &ack, badRecord(0))
	for i := range 10 {
		appendRecords(t, s, &ack, record("k", 1+i))
	}
	waitFor(t, func() bool { st := s.Stats(); return st.Delivered == 10 && st.DeadLettered == 1 })
	waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.held == ack.done })
	if st := s.Stats(); len(st.Dropped) != 0 || st.InFlight+st.Spooled != 0 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	if r := consume(t, c, "t.dlq", 1)[0]; !bytes.Contains(r.Value, []byte("bad")) {
		t.Errorf("dead letter %s", r.Value)
	}
}

// That the topic takes no dead letters is examined again, though nothing that came later has had to wait for it.
func TestDeadLettersOfFramesAreTriedAgain(t *testing.T) {
	t.Parallel()
	c := cluster(t, 2, kfake.SeedTopics(2, "t.dlq"))
	bad, other := keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]
	disk := newTestDisk(t)
	away := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
	s := start(t, c, func(cfg *Config, d *Deps) { cfg.Settle, d.OpenSpool = SettleOnDisk, disk.Open })
	for i := range 2 {
		var ack ackCount
		r := record(bad, i)
		r.Value = append(r.Value, [...]string{" bad", " bad, the second"}[i]...)
		appendRecords(t, s, &ack, r)
		waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.done == ack.held })
	}
	s.Close(ended())
	away.Remove()

	fault := c.Fault(unusableDeadTopic[2].fault)
	takes := make(chan struct{})
	onProduce(c, func(topic string, p *kmsg.ProduceRequestTopicPartition) bool {
		if topic == "t" && bytes.Contains(p.Records, []byte("the second")) {
			c.SleepControl(func() { <-takes })
		}
		return false
	})
	refuseBad(c, true)
	s = start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, d.stuckAfter, d.OpenSpool = SettleOnDisk, 100*time.Millisecond, alwaysFull(disk.Open)
	})
	n := 0
	waitFor(t, func() bool { // another partition has to move for a while
		n++
		appendRecords(t, s, nil, record(other, n))
		return s.Stats().Dropped[droppedDeadUnavailable] == 1
	})
	fault.Remove()
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Since(s.room.standstill.deadTried) > s.deps.stuckAfter
	})
	close(takes)
	waitFor(t, func() bool { return s.Stats().Spooled+s.Stats().InFlight == 0 })
	if st := s.Stats(); st.DeadLettered != 1 || st.Dropped[droppedDeadUnavailable] != 1 {
		t.Errorf("stats %+v", st)
	}
}

// Dead letters that memory has no room for go to disk while their topic cannot be written, and the events that they came
// from end there.
func TestRefusedRecordsBeyondTheirShareGoToDisk(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
	refuseBad(c, true)
	fault := c.Fault(unusableDeadTopic[2].fault)
	s := start(t, c, func(cfg *Config, d *Deps) {
		smallBuffers(cfg, d)
		cfg.Settle, cfg.Linger, d.OpenSpool = SettleOnDisk, 5*time.Millisecond, newTestDisk(t).Open
	})
	const n = 1000
	value := bytes.Repeat([]byte("bad "), 100)
	for i := range n {
		appendRecords(t, s, nil, sink.Record{Key: []byte("k"), Value: value}, record("k", i))
	}
	waitFor(t, func() bool { return s.Stats().Delivered == n })
	if st := s.Stats(); len(st.Dropped) != 0 {
		t.Errorf("stats %+v", st)
	}
	fault.Remove()
	waitFor(t, func() bool { return s.Stats().DeadLettered == n })
}

func appendRecords(t *testing.T, s *Sink, ack sink.Ack, records ...sink.Record) {
	t.Helper()
	if _, err := s.Append(patient(t), records, ack); err != nil {
		t.Fatal(err)
	}
}

// A dead letter that is given up leaves its partition's stamp free: the next one is delivered.
func TestADeadLetterBehindOneThatWasGivenUp(t *testing.T) {
	t.Parallel()
	for _, dead := range unusableDeadTopic[1:] {
		t.Run(dead.name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 2, kfake.SeedTopics(1, "t.dlq"))
			disk := newTestDisk(t)
			fillAtBad(c, disk)
			refuseBad(c, true)
			fault := c.Fault(dead.fault)
			s := start(t, c, func(cfg *Config, d *Deps) {
				cfg.Settle, cfg.Linger, d.OpenSpool, d.stuckAfter = SettleOnDisk, 5*time.Millisecond, disk.Open, 100*time.Millisecond
			})
			keys := []string{keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]}
			bad := record(keys[0], 0)
			bad.Value = append(bad.Value, " bad"...)
			var ack ackCount
			appendRecords(t, s, &ack, bad)
			n := 0
			waitFor(t, func() bool {
				n++
				appendRecords(t, s, &ack, record(keys[0], n), record(keys[1], n))
				return s.Stats().Dropped[droppedDeadUnavailable] == 1
			})
			fault.Remove()
			if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("{"), Reason: "bad"}, &ack); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })
		})
	}
}

// Dead letters whose topic takes none fill their share of memory: then they are dropped and counted, and the good events
// go on, though the topic's only partition is the one that they hold up.
func TestRefusedRecordsOfTheOnlyPartition(t *testing.T) {
	t.Parallel()
	for _, dead := range unusableDeadTopic {
		t.Run(dead.name, func(t *testing.T) {
			t.Parallel()
			opts := []kfake.Opt{}
			if dead.seed {
				opts = append(opts, kfake.SeedTopics(1, "t.dlq"))
			}
			c := cluster(t, 1, opts...)
			refuseBad(c, true)
			c.Fault(dead.fault)
			s := stuckSink(t, c, nil)
			var ack ackCount
			const each = 200
			for i := range each {
				bad := record("k", i)
				bad.Value = append(bad.Value, strings.Repeat("x", 4000)+" bad"...)
				appendRecords(t, s, &ack, bad, record("k", i))
			}
			waitFor(t, func() bool { return s.Stats().Delivered == each })
			if st := s.Stats(); st.Dropped[droppedDeadUnavailable] == 0 || st.Admitted != 2*each {
				t.Errorf("%+v", st)
			}
		})
	}
}
