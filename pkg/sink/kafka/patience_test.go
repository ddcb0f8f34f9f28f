package kafka

import (
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// TestPressingInVainIsFollowedByAPause: while no room can be made, appenders that press again and again would keep the
// spooler awake, however long ago the last batch ended and the buffers ran full.
func TestPressingInVainIsFollowedByAPause(t *testing.T) {
	for _, settle := range []Settle{SettleOnKafka, SettleOnDisk, SettleAtOnce} {
		for _, overflowing := range []int{0, 1} {
			for _, wanted := range []int64{0, 1 << 20} {
				synctest.Test(t, func(t *testing.T) {
					s, _, _ := bench(t)
					s.cfg.Settle, s.disk.overflowing, s.topics[0].wanted = settle, overflowing, wanted
					s.disk.sp = &nothingSpool{}
					s.disk.fullSince, s.disk.movedAt = time.Now(), time.Now()
					time.Sleep(time.Hour)
					for range 3 {
						s.spooler.spiller.pressedInVainLocked()
						before := time.Now()
						fires, stop := s.spooler.spiller.spillDelayLocked()
						<-fires
						stop()
						if d := time.Since(before); d < patienceOverflowing {
							t.Errorf("settle %v, overflowing %d, wanted %d: pressed again after %v", settle, overflowing, wanted, d)
						}
					}
				})
			}
		}
	}
}

// nothingSpool is a spool that is not used.
type nothingSpool struct{ diskqueue.Spool }
