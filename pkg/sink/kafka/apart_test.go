package kafka

import (
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"functiongraph-ingest/pkg/sink"
)

// A batch with a frame is taken apart, and the process is killed while one of its halves is on its way. The next one
// sends the frame whole. When the half arrives after that, its record is not in the topic twice, or it is counted.
func TestALateHalfOfABatchThatWasTakenApart(t *testing.T) {
	t.Run("the first", func(t *testing.T) { lateHalf(t, 1) })
	t.Run("the second", func(t *testing.T) { lateHalf(t, 2) })
}

func lateHalf(t *testing.T, n int) {
	c := cluster(t, 1)
	var mu sync.Mutex
	var sent []*kmsg.ProduceRequest
	killed := false
	c.ControlKey(0, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		mu.Lock()
		defer mu.Unlock()
		if killed {
			return nil, nil, false
		}
		sent = append(sent, req)
		switch {
		case len(sent) == 1:
			return answerAll(req, func(string, int32) int16 { return kerr.MessageTooLarge.Code }), nil, true
		case len(sent) <= n:
			return nil, nil, false
		}
		return answerAll(req, func(string, int32) int16 { return kerr.RequestTimedOut.Code }), nil, true
	})
	disk := newTestDisk(t)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.Linger, d.OpenSpool = SettleOnDisk, time.Hour, disk.Open
	})
	if _, err := s.Append(patient(t), []sink.Record{record("k", 0), record("k", 1)}, nil); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(sent) > n })
	disk = disk.Kill()
	s.Close(ended())
	mu.Lock()
	killed = true
	half := sent[n]
	mu.Unlock()

	s = start(t, c, func(cfg *Config, d *Deps) { cfg.Settle, d.OpenSpool = SettleOnDisk, disk.Open })
	waitFor(t, func() bool { st := s.Stats(); return st.Recovered == 2 && st.Delivered == 2 })
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.MaxVersions(kversion.V3_0_0())) // later ones name topics by id
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := cl.Broker(0).Request(patient(t), half); err != nil {
		t.Fatal(err)
	}
	st := closeSink(t, s)
	total := int64(0)
	for _, p := range c.PartitionInfos("t") {
		total += p.HighWatermark
	}
	if extra := total - 2; extra > st.PossibleDuplicates {
		t.Errorf("%d records of 2 are in the topic, %d were counted as possible duplicates", total, st.PossibleDuplicates)
	}
}
