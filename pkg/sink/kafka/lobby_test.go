package kafka

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// TestClientsOfTheLobbyHearFromTheDisk: events that come before the partitions are known, and have no frame until they are
// placed, are told when all of their frames are durable, while Kafka acknowledges nothing.
func TestClientsOfTheLobbyHearFromTheDisk(t *testing.T) {
	for _, partitions := range []int32{1, 4} {
		c := cluster(t, partitions)
		c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return nil, errors.New("cut"), true
		})
		n := &line{}
		n.cut()
		s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
			cfg.Settle, cfg.Linger, d.Dial = SettleOnDisk, time.Hour, n.dial
		})
		var acks [20]ackCount
		for i := range acks {
			s.Append(patient(t), []sink.Record{record("a", i), record("b", i), record("c", i), record("d", i)}, &acks[i])
		}
		n.mend()
		waitFor(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.topics[0].lanes) > 0 && s.topics[0].lobby == nil
		})
		s.Flush()
		waitFor(t, func() bool {
			for i := range acks {
				acks[i].mu.Lock()
				done := acks[i].held == acks[i].done
				acks[i].mu.Unlock()
				if !done {
					return false
				}
			}
			return true
		})
		if st := s.Stats(); st.Delivered != 0 {
			t.Errorf("%+v", st)
		}
		for i := range acks {
			acks[i].check(t, 0)
		}
		_ = s.Close(ended())
		if st := s.Stats(); st.Spooled != 80 {
			t.Errorf("%+v", st)
		}
	}
}
