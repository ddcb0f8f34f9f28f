package kafka

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// A batch that was sent before the spool was opened gets its frame when the sink ends, behind those that the spool had. The
// cursor has one stamp: what the next process cannot recognise by it counts as possible duplicates.
func TestABatchInDoubtBehindOlderFrames(t *testing.T) {
	t.Parallel()
	for _, sent := range []bool{true, false} { // the older frame, by a process that was killed
		t.Run(fmt.Sprint("sent ", sent), func(t *testing.T) {
			t.Parallel()
			c, disk := cluster(t, 1), newTestDisk(t)
			process := func(steals bool, edit func(*Config, *Deps)) (*Sink, *answerThief) {
				thief := &answerThief{}
				if steals {
					thief.armed.Store(1 << 30)
				}
				return start(t, c, func(cfg *Config, d *Deps) {
					cfg.Settle, cfg.RequestTimeout = SettleOnDisk, 300*time.Millisecond
					d.Dial, d.OpenSpool = thief.dial, disk.Open
					if edit != nil {
						edit(cfg, d)
					}
				}), thief
			}
			post := func(s *Sink, event int) {
				if n, err := s.Append(patient(t), []sink.Record{record("k", event)}, nil); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			killed := func(s *Sink, thief *answerThief) {
				waitFor(t, func() bool { return thief.stolen.Load() > 0 })
				disk = disk.Kill()
				_ = s.Close(ended())
			}
			counted := int64(0)

			if sent {
				s, thief := process(true, nil)
				post(s, 0)
				killed(s, thief)
			} else {
				n := &line{}
				s, _ := process(false, func(_ *Config, d *Deps) { d.Dial = n.dial })
				waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
				n.cut()
				post(s, 0)
				_ = s.Close(ended())
			}

			// The next one sends before it has the spool, gets no answer, and ends.
			var open atomic.Bool
			s, thief := process(true, func(_ *Config, d *Deps) {
				d.OpenSpool = func() (diskqueue.Spool, error) {
					if !open.Load() {
						return nil, errors.New("not mounted yet")
					}
					return disk.Open()
				}
			})
			post(s, 1)
			waitFor(t, func() bool { return thief.stolen.Load() > 0 })
			open.Store(true)
			waitFor(t, func() bool { return s.Stats().Recovered == 1 && !s.held() })
			_ = s.Close(ended())
			st := s.Stats()
			balance(t, st, 1)
			if st.Spooled != 2 {
				t.Fatalf("%+v", st)
			}
			counted += st.PossibleDuplicates

			if !sent { // one more is killed, with the older one in doubt
				s, thief := process(true, nil)
				killed(s, thief)
				counted += s.Stats().PossibleDuplicates
			}
			s, _ = process(false, nil)
			waitFor(t, func() bool { return s.Stats().Delivered == 2 })
			counted += closeSink(t, s).PossibleDuplicates
			length := int(c.PartitionInfo("t", 0).HighWatermark)
			seen := map[string]int{}
			for _, r := range consume(t, c, "t", length) {
				seen[string(r.Value)]++
			}
			if twice := int64(length - 2); len(seen) != 2 || twice > counted {
				t.Errorf("%d events twice, %d counted; %v", twice, counted, seen)
			}
			if n := seen[string(record("k", 0).Value)]; n != 1 {
				t.Errorf("the older one, of which the spool knows the stamp, is there %d times", n)
			}
		})
	}
}
