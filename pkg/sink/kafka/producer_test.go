package kafka

import (
	"strings"
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
