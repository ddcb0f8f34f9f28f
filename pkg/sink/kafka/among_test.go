package kafka

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// TestGrowthBetweenTwoProcesses: partitions are added while frames wait on disk, and the process ends. The next one goes
// on by the count of old until those are delivered, whichever it learns first: the spool or the partitions.
func TestGrowthBetweenTwoProcesses(t *testing.T) {
	t.Parallel()
	const keys = 37
	for _, spoolFirst := range []bool{true, false} {
		t.Run(fmt.Sprint("spool first ", spoolFirst), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := cluster(t, 3)
			s, n := spooling(t, c, dir, nil)
			waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.topics[0].lanes) == 3 && s.disk.sp != nil })
			n.cut()
			appendAll(t, s, 3000, keys, nil)
			_ = s.Close(ended())
			if st := s.Stats(); st.Spooled != 3000 {
				t.Fatalf("stats %+v", st)
			}
			addPartitions(t, c, "t", 8)
			var takes atomic.Bool
			c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				return nil, errors.New("cut"), !takes.Load()
			})
			opened := make(chan struct{})
			n2 := &line{}
			if spoolFirst {
				n2.cut()
			}
			s2, _ := spooling(t, c, dir, func(cfg *Config, d *Deps) {
				d.Dial = n2.dial
				open := d.OpenSpool
				d.OpenSpool = func() (diskqueue.Spool, error) {
					if !spoolFirst {
						<-opened
					}
					return open()
				}
			})
			lanes := func(s *Sink) int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.topics[0].lanes) }
			if spoolFirst {
				waitFor(t, func() bool { s2.mu.Lock(); defer s2.mu.Unlock(); return s2.disk.sp != nil })
				n2.mend()
			} else {
				waitFor(t, func() bool { return lanes(s2) > 0 })
				close(opened)
			}
			waitFor(t, func() bool { return lanes(s2) > 0 && !s2.held() })
			appendAll(t, s2, 500, keys, nil)
			if got := lanes(s2); got != 3 {
				t.Fatalf("%d lanes while frames of 3 partitions wait", got)
			}
			takes.Store(true)
			waitFor(t, func() bool { s2.Flush(); return s2.Stats().Delivered == 3500 })
			appendAll(t, s2, 500, keys, nil)
			st := closeSink(t, s2)
			balance(t, st, 1000)
			if st.Delivered != 4000 || st.Spooled != 0 || st.PossibleDuplicates != 0 {
				t.Errorf("stats %+v", st)
			}
			recs := consume(t, c, "t", 4000)
			p := kgo.StickyKeyPartitioner(nil).ForTopic("t")
			later := map[string]int{} // records by the new count
			for _, r := range recs {
				was, is := p.Partition(&kgo.Record{Key: r.Key}, 3), p.Partition(&kgo.Record{Key: r.Key}, 8)
				if int(r.Partition) == is && was != is {
					later[string(r.Key)]++
				} else if int(r.Partition) != was {
					t.Fatalf("key %s in partition %d, want %d or %d", r.Key, r.Partition, was, is)
				}
			}
			for k, n := range later {
				if most := 500/keys + 1; n > most {
					t.Errorf("key %s: %d records by the new count, at most %d came after the others were delivered", k, n, most)
				}
			}
			if len(later) == 0 {
				t.Error("no key has moved")
			}
		})
	}
}
