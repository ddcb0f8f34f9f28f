package kafka

import (
	"sync/atomic"
	"testing"

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
		return len(s.dead.lanes) == 4 && s.dead.lanes[3].hasFrames()
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
