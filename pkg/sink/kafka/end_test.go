package kafka

import (
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// TestProgressIsWrittenDownAgain: what has ended is written down again after an error, also when nothing else ends.
func TestProgressIsWrittenDownAgain(t *testing.T) {
	s, _, _ := bench(t)
	sp := &cursorsFail{left: 2}
	s.disk.sp = sp
	w := &s.spooler.writer
	for tries := 1; ; tries++ {
		w.behindSince = time.Now().Add(-cursorDelay)
		w.writeCursors()
		s.tasks.Wait()
		again := w.writeCursors()
		if sp.left == 0 && sp.wrote == 1 {
			if !again.IsZero() {
				t.Error("what is written is written again")
			}
			return
		}
		if again.IsZero() || w.behindSince.IsZero() || tries == 3 {
			t.Fatalf("after %d tries nothing is tried again", tries)
		}
	}
}

// cursorsFail is a disk that does not take the next cursors.
type cursorsFail struct {
	diskqueue.Spool
	left, wrote int
}

func (s *cursorsFail) WriteCursors() error {
	if s.left > 0 {
		s.left--
		return errDisk
	}
	s.wrote++
	return nil
}
