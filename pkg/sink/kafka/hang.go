package kafka

import (
	"errors"
	"maps"
	"sync"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// errDiskHangs: a call of the disk has not come back for hangsAfter.
var errDiskHangs = errors.New("the disk does not answer")

// watchdog notices that a call of the disk does not come back. The caller itself cannot tell.
type watchdog struct {
	mu    sync.Mutex
	calls int
	timer *time.Timer // made by the first call
	hangs bool
}

// onDisk makes a call that writes to the disk or waits for it.
func (s *frameWriter) onDisk(call func() error) error {
	w := &s.watchdog
	w.mu.Lock()
	if w.calls++; w.calls == 1 {
		if w.timer == nil {
			w.timer = time.AfterFunc(hangsAfter, s.diskHangs)
		} else {
			w.timer.Reset(hangsAfter)
		}
	}
	w.mu.Unlock()
	err := call()
	w.mu.Lock()
	if w.calls--; w.calls == 0 {
		w.timer.Stop()
	} else {
		w.timer.Reset(hangsAfter) // something comes back
	}
	over := w.hangs
	w.hangs = false
	w.mu.Unlock()
	if over {
		s.diskAnswers()
	}
	return err
}

// diskHangs lets batches go without their frames, so that a healthy Kafka gets them and their clients hear of it.
func (s *frameWriter) diskHangs() {
	w := &s.watchdog
	s.mu.Lock() // before w.mu, so that diskAnswers comes after this
	defer s.mu.Unlock()
	w.mu.Lock()
	w.hangs = w.calls > 0
	hangs := w.hangs
	w.mu.Unlock()
	if !hangs {
		return
	}
	s.disk.hangs = true
	if s.disk.err == nil {
		s.diskFails(errDiskHangs)
	}
	for _, b := range s.brokers {
		b.signal()
	}
}

func (s *frameWriter) diskAnswers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk.hangs = false
	if errors.Is(s.disk.err, errDiskHangs) {
		s.diskFails(nil)
	}
	s.madeRoom()
	wake(s.disk.kick)
}

// errLeftBehind: Close returned while a call of the disk had not.
var errLeftBehind = errors.New("the disk does not answer: what is in memory and not on disk is dropped")

// leaveBehind accounts for what is in memory while a call of the disk hangs: what has a frame is on disk, perhaps not
// durable; what has none is lost with the process. Nothing is released, since that call may still read it.
func (s *spooler) leaveBehind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behindClose = true
	count := func(b *batch) {
		switch {
		case b == nil || b.rb == nil && !b.loaded: // what is loaded without a buffer is being read
		case !b.unframed():
			s.count.toDisk(b.events)
		default:
			s.drop(sink.DroppedShutdown, b.events)
		}
	}
	for l := range s.lanes() {
		count(l.doubt)
		count(l.open)
		for _, list := range [][]*batch{l.parts, l.queue} {
			for _, b := range list {
				count(b)
			}
		}
	}
	s.atEnd = s.count
	s.atEnd.dropped = maps.Clone(s.count.dropped)
}
