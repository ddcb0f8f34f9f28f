package kafka

import (
	"errors"
	"sync"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
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
		s.diskFailsLocked(errDiskHangs)
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
		s.diskFailsLocked(nil)
	}
	s.madeRoom()
	wake(s.disk.kick)
}

// diskFailsLocked notes why the spool takes nothing; nil: it does.
func (s *frameWriter) diskFailsLocked(err error) {
	if (err == nil) != (s.disk.err == nil) || isFull(err) != isFull(s.disk.err) {
		s.changes.ring()
		s.disk.failedAt = time.Now()
	}
	s.disk.err = err
}

// lookAtDisk asks a disk that took nothing whether it does now. Writes tell as well, but perhaps there is nothing more to
// write, or Kafka takes it first: the trouble would stay for ever. It returns when to look again.
func (s *frameWriter) lookAtDisk() (at time.Time) {
	s.mu.Lock()
	if s.disk.err == nil || s.disk.hangs || s.closed {
		s.mu.Unlock()
		return time.Time{}
	}
	if at = s.triedAt.Add(diskLook); time.Now().Before(at) {
		s.mu.Unlock()
		return at
	}
	bytes := s.refused
	s.mu.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.onDisk(func() error { return s.disk.sp.Room(bytes) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wroteLocked(err); err == nil {
		wake(s.disk.kick) // batches may wait for their frames
		return time.Time{}
	}
	return s.triedAt.Add(diskLook)
}

// letGoLocked lets lanes send.
func (s *frameWriter) letGoLocked() {
	s.disk.holding = false
	for _, b := range s.brokers {
		b.signal()
	}
}

// wroteLocked notes how the last write ended.
func (s *frameWriter) wroteLocked(err error) {
	was := s.disk.err
	if err == nil && s.disk.hangs {
		return // another call of the disk does not come back
	}
	if s.diskFailsLocked(err); err == nil {
		if was != nil {
			s.madeRoom() // appenders that wait may press again
		}
		return
	}
	s.triedAt = time.Now()
	s.retryAt = s.triedAt.Add(spoolRetry)
	if s.cfg.Settle == SettleOnDisk {
		for _, b := range s.brokers { // batches go without frames now
			b.signal()
		}
	}
	s.madeRoom() // for appenders that drop rather than wait
}

func isFull(err error) bool { return errors.Is(err, diskqueue.ErrFull) }
