package kafka

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// TestADeadLetterThatIsPlacedAnewIsThereOnce: of a dead letter and of the batch that it came out of one has a frame, also when
// its topic is made anew with fewer partitions. With both it would come twice after a kill.
func TestADeadLetterThatIsPlacedAnewIsThereOnce(t *testing.T) {
	t.Parallel()
	const events = 40
	c := cluster(t, 1, kfake.SeedTopics(4, "t.dlq"))
	var hold atomic.Bool
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		if req.Topics[0].Topic == "t.dlq" && !hold.Load() {
			return nil, nil, false
		}
		return answerAll(req, func(topic string, _ int32) int16 {
			if topic == "t" {
				return errInvalidRecord
			}
			return 7 // REQUEST_TIMED_OUT
		}), nil, true
	})
	disk := newTestDisk(t)
	begin := func() *Sink {
		s, _ := spooling(t, c, "", func(cfg *Config, d *Deps) { cfg.Settle, d.OpenSpool = SettleOnDisk, disk.Open })
		return s
	}
	s := begin()
	appendAll(t, s, 1, 1, nil)
	waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })

	hold.Store(true)
	s.mu.Lock()
	s.dead.sticky = 3
	s.mu.Unlock()
	var recs []sink.Record
	for i := range events {
		recs = append(recs, record("k", i))
	}
	if n, err := s.Append(patient(t), recs, nil); n != events || err != nil {
		t.Fatal(n, err)
	}
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Each dead letter has a frame, and theirs is done.
		return len(s.dead.lanes) == 4 && s.dead.lanes[3].hasFrames() && s.topics[0].lanes[0].idle() && !s.topics[0].lanes[0].hasFrames()
	})
	remake(t, c.ListenAddrs(), "t.dlq", 1)
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.dead.lanes) == 1 && len(s.dead.gone) == 0 && !s.dead.lanes[0].idle()
	})
	frames := s.Metrics().SpilledFrames

	disk = disk.Kill()
	_ = s.Close(ended())
	hold.Store(false)
	s = begin()
	waitFor(t, func() bool { st := s.Stats(); return st.DeadLettered >= events && st.Spooled == 0 && st.InFlight == 0 })
	if st := closeSink(t, s); st.Recovered != events || st.DeadLettered != events {
		t.Errorf("of %d events, in %d frames: %+v", events, frames, st)
	}
	seen := map[string]int{}
	for _, r := range consume(t, c, "t.dlq", events) {
		seen[string(r.Value)]++
	}
	for i := range recs {
		if n := seen[string(recs[i].Value)]; n != 1 {
			t.Errorf("%d copies of %s", n, recs[i].Value)
		}
	}
}

// TestATopicGetsFewerPartitionsWhileABatchIsTakenApart: the first half of a batch with a frame is in the log, the second
// waits, and the topic is made anew with fewer partitions. The second half goes where it belongs now.
func TestATopicGetsFewerPartitionsWhileABatchIsTakenApart(t *testing.T) {
	t.Parallel()
	c := cluster(t, 4)
	var takes, half atomic.Bool
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		records := string(req.Topics[0].Partitions[0].Records)
		first, second := strings.Contains(records, "first"), strings.Contains(records, "second")
		if takes.Load() || !second {
			half.Store(half.Load() || first)
			return nil, nil, false
		}
		return answerAll(req, func(string, int32) int16 {
			if first {
				return 10 // MESSAGE_TOO_LARGE
			}
			return 7 // REQUEST_TIMED_OUT
		}), nil, true
	})
	s := start(t, c, func(cfg *Config, d *Deps) {
		quickLooks(cfg, d)
		cfg.Settle, cfg.Linger, d.OpenSpool = SettleOnDisk, 5*time.Millisecond, newTestDisk(t).Open
	})
	key := []byte(keysOf(3, 4, 1)[0])
	var ack ackCount
	appendRecords(t, s, &ack, sink.Record{Key: key, Value: []byte("first")}, sink.Record{Key: key, Value: []byte("second")})
	waitFor(t, func() bool { return half.Load() && s.Stats().Delivered == 1 })
	remake(t, c.ListenAddrs(), "t", 2)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.topics[0].lanes) == 2 })
	takes.Store(true)
	appendRecords(t, s, &ack, sink.Record{Key: key, Value: []byte("third")})
	waitFor(t, func() bool { return s.Stats().Delivered == 3 })
	st := closeSink(t, s)
	if st.Spooled != 0 || len(st.Dropped) != 0 {
		t.Errorf("%+v", st)
	}
	ack.check(t, 0)
	checkKeyed(t, consume(t, c, "t", 2), map[string][]string{string(key): {"second", "third"}}) // the first went with the topic
}
