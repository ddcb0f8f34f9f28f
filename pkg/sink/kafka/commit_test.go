package kafka

import (
	"fmt"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// speed is Deps.fastSync for a disk that is slow, or fast, whatever the machine does.
func speed(slow bool) time.Duration {
	if slow {
		return -1
	}
	return time.Hour
}

// committed counts the frames that were written for batches which a worker had taken already.
type committed struct {
	diskqueue.Spool
	s               **Sink
	byWorker, byAll int // guarded by spooler.writing
}

func (c *committed) Append(frames []diskqueue.Write) (int, error) {
	s := *c.s
	s.mu.Lock()
	for _, f := range frames {
		c.byAll++
		for l := range s.lanes() {
			if b := l.head; l.disk.q == f.Queue && l.busy && b.writing && !f.InDoubt {
				c.byWorker++
			}
		}
	}
	s.mu.Unlock()
	return c.Spool.Append(frames)
}

// Where the disk confirms at once workers write the frames of what they send; else the spooler does, before they
// take it.
func TestWorkersCommitOnAFastDisk(t *testing.T) {
	t.Parallel()
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprint("slow ", slow), func(t *testing.T) {
			c := cluster(t, 4)
			var s *Sink
			count := &committed{s: &s}
			opened := make(chan struct{}) // s is set
			s, _ = spooling(t, c, "", func(cfg *Config, d *Deps) {
				open := newTestDisk(t).Open
				cfg.Settle, d.fastSync = SettleOnDisk, speed(slow)
				d.OpenSpool = func() (diskqueue.Spool, error) {
					<-opened
					sp, err := open()
					count.Spool = sp
					return count, err
				}
			})
			close(opened)
			reach(t, s) // frames that are written before that have no worker
			var ack ackCount
			want := map[string][]string{}
			for i := range 50 {
				for k, v := range appendAll(t, s, 20, 7+i%2, &ack) {
					want[k] = append(want[k], v...)
				}
				waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.held == ack.done })
			}
			st := closeSink(t, s)
			balance(t, st, 1000)
			ack.check(t, 0)
			checkKeyed(t, consume(t, c, "t", 1000), want)
			switch {
			case slow && count.byWorker != 0:
				t.Errorf("%d of %d frames were written by workers", count.byWorker, count.byAll)
			case !slow && count.byWorker < count.byAll/2:
				t.Errorf("only %d of %d frames were written by workers", count.byWorker, count.byAll)
			}
			t.Logf("%d of %d frames by workers", count.byWorker, count.byAll)
		})
	}
}
