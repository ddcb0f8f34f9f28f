package kafka

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

func TestLostProducerStateIsRenewedAndCounted(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, kerr.UnknownProducerID} {
		t.Run(e.Message, func(t *testing.T) {
			c := cluster(t, 2)
			s := start(t, c, nil)
			first := appendAll(t, s, 100, 10, nil)
			waitFor(t, func() bool { return s.Stats().Delivered == 100 })
			f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: e, Count: 1})
			defer f.Remove()
			var ack ackCount
			for i := range 10 {
				r := record("key-000", 1000+i)
				first["key-000"] = append(first["key-000"], string(r.Value))
				s.Append(patient(t), []sink.Record{r}, &ack)
			}
			st := closeSink(t, s)
			ack.check(t, 0)
			if st.Delivered != 110 || s.Metrics().Renewals == 0 {
				t.Errorf("stats %+v, %d renewals", st, s.Metrics().Renewals)
			}
			checkKeyed(t, consume(t, c, "t", 110), first)
		})
	}
}

func TestProducerIDRefused(t *testing.T) {
	refuse := func(c *kfake.Cluster) {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	}
	t.Run("require", func(t *testing.T) {
		c := cluster(t, 1)
		refuse(c)
		s := start(t, c, nil)
		appendAll(t, s, 1, 1, nil)
		waitFor(t, func() bool { err := s.Ready(); return err != nil && strings.Contains(err.Error(), "idempotence") })
		if st := s.Stats(); st.Delivered != 0 {
			t.Errorf("delivered without a producer id: %+v", st)
		}
	})
	t.Run("prefer", func(t *testing.T) {
		c := cluster(t, 1)
		refuse(c)
		s := start(t, c, func(cfg *Config, _ *Deps) { cfg.PreferIdempotence = true })
		want := appendAll(t, s, 100, 10, nil)
		if st := closeSink(t, s); st.Delivered != 100 || st.Idempotent {
			t.Errorf("stats %+v", st)
		}
		checkKeyed(t, consume(t, c, "t", 100), want)
	})
}

// brokersOfOld answer as those before 2.8 without IDEMPOTENT_WRITE, while on: no producer ids, and none in a request.
func brokersOfOld(c *kfake.Cluster, on *atomic.Bool) {
	c.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		res.Version, res.ErrorCode, res.ProducerID = r.GetVersion(), kerr.ClusterAuthorizationFailed.Code, -1
		return res, nil, on.Load()
	})
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req, withID := r.(*kmsg.ProduceRequest), false
		for _, t := range req.Topics {
			for _, p := range t.Partitions {
				withID = withID || int64(binary.BigEndian.Uint64(p.Records[43:])) >= 0
			}
		}
		if !on.Load() || !withID {
			return nil, nil, false
		}
		return answerAll(req, func(string, int32) int16 { return kerr.ClusterAuthorizationFailed.Code }), nil, true
	})
}

// TestStampsThatAreRefusedBlockNothing: the permission for producer ids is taken away. A batch that has a stamp goes
// without it then, be it of an earlier process or of this one: else all of its broker's partitions would wait for ever.
func TestStampsThatAreRefusedBlockNothing(t *testing.T) {
	t.Parallel()
	prefer := func(cfg *Config, d *Deps, disk *testDisk) {
		cfg.PreferIdempotence, cfg.Settle, d.OpenSpool = true, SettleOnDisk, disk.Open
	}
	t.Run("of an earlier process", func(t *testing.T) {
		t.Parallel()
		const left, more = 20, 30
		c, disk, n, old := cluster(t, 2), newTestDisk(t), &line{}, &atomic.Bool{}
		sent := make(chan struct{}, 100)
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			sent <- struct{}{}
			return nil, errDisk, true // an answer that is lost
		})
		first := start(t, c, func(cfg *Config, d *Deps) {
			prefer(cfg, d, disk)
			cfg.RetryMin, cfg.RetryMax, d.Dial = time.Hour, time.Hour, n.dial
		})
		want := appendAll(t, first, left, 1, nil)
		<-sent
		n.cut()
		after := disk.Kill()
		first.Close(ended())
		old.Store(true)
		brokersOfOld(c, old)
		s := start(t, c, func(cfg *Config, d *Deps) { prefer(cfg, d, after) })
		waitFor(t, func() bool { return !s.held() })
		for k, v := range appendAll(t, s, more, 3, nil) {
			want[k] = append(want[k], v...)
		}
		waitFor(t, func() bool { return s.Stats().Delivered == left+more })
		st := closeSink(t, s)
		if st.Idempotent || st.PossibleDuplicates == 0 || st.PossibleDuplicates > left {
			t.Errorf("%+v", st)
		}
		checkKeyed(t, consume(t, c, "t", left+more), want)
	})
	t.Run("of this one", func(t *testing.T) {
		t.Parallel()
		c, old := cluster(t, 2), &atomic.Bool{}
		brokersOfOld(c, old)
		s := start(t, c, func(cfg *Config, d *Deps) { prefer(cfg, d, newTestDisk(t)) })
		want := appendAll(t, s, 50, 7, nil)
		waitFor(t, func() bool { return s.Stats().Delivered == 50 })
		old.Store(true)
		for k, v := range appendAll(t, s, 50, 7, nil) {
			want[k] = append(want[k], v...)
		}
		waitFor(t, func() bool { return s.Stats().Delivered == 100 })
		if st := closeSink(t, s); st.Idempotent || st.PossibleDuplicates != 0 {
			t.Errorf("%+v", st)
		}
		checkKeyed(t, consume(t, c, "t", 100), want)
	})
}

// TestProducerIDsAreAskedForAgain: what was refused at the start may be granted later. Batches have stamps from then on.
func TestProducerIDsAreAskedForAgain(t *testing.T) {
	t.Parallel()
	c, old, log := cluster(t, 2), &atomic.Bool{}, &logged{t: t}
	old.Store(true)
	brokersOfOld(c, old)
	s := start(t, c, func(cfg *Config, d *Deps) {
		quickLooks(cfg, d)
		log.to(d)
		cfg.PreferIdempotence = true
	})
	want := appendAll(t, s, 50, 7, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 50 })
	if s.Stats().Idempotent || s.Ready() != nil {
		t.Errorf("%+v, %v", s.Stats(), s.Ready())
	}
	old.Store(false)
	waitFor(t, func() bool { return s.Stats().Idempotent })
	for k, v := range appendAll(t, s, 50, 7, nil) {
		want[k] = append(want[k], v...)
	}
	if st := closeSink(t, s); st.Delivered != 100 || st.PossibleDuplicates != 0 || !st.Idempotent {
		t.Errorf("%+v", st)
	}
	if n := log.lines("WARN", "the cluster refuses producer ids"); n != 1 {
		t.Errorf("%d warnings", n)
	}
	checkKeyed(t, consume(t, c, "t", 100), want)
}

// A producer that the broker may have forgotten is taken silently, so its resends are counted first.
func TestResendAfterProducerExpiryIsCounted(t *testing.T) {
	c := cluster(t, 1)
	f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1})
	defer f.Remove()
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.RetryMin, cfg.RetryMax = 30*time.Millisecond, 60*time.Millisecond })
	waitFor(t, func() bool { return s.Ready() == nil })
	s.mu.Lock()
	s.expiry = 10 * time.Millisecond
	s.mu.Unlock()
	appendAll(t, s, 5, 1, nil)
	if st := closeSink(t, s); st.PossibleDuplicates != 5 {
		t.Errorf("possible duplicates %d, want 5", st.PossibleDuplicates)
	}
}
