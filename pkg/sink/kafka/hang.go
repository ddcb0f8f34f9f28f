package kafka

import (
	"errors"
	"slices"
	"sync"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// errDiskHangs: a call of the disk has not come back for hangsAfter.
var errDiskHangs = errors.New("the disk does not answer")

// watchdog notices that a call of the disk does not come back. The caller itself cannot tell.
type watchdog struct {
	mu    sync.Mutex
	all   watch         // of each call that writes to the disk or waits for it
	syncs watch         // of those that wait until something is durable: writes may come back from memory meanwhile
	heirs []*heir       // of the callers that do not wait for a disk that hangs
	left  int           // calls that were left behind by such a caller and have not come back
	noted chan struct{} // closed when the disk hangs; nil: no caller waits for that

	unread int // reads of frames that were
}

// watch notices that of some calls none comes back. watchdog.mu guards it.
type watch struct {
	calls int
	since time.Time   // nothing has come back since; meaningful while there are calls
	timer *time.Timer // made by the first call
	armed bool        // the timer will look; to let it run out now and then costs less than to stop it after each call
	hangs bool
}

// heir goes on, on a goroutine of its own, where a caller has met a disk that hangs.
type heir struct{ goOn func() }

// onDisk makes a call that writes to the disk or waits for it.
func (s *frameWriter) onDisk(call func() error) error { return s.watched(&s.watchdog.all, call) }

// syncOnDisk is onDisk for a call that waits until something is durable.
func (s *frameWriter) syncOnDisk(call func() error) error {
	return s.onDisk(func() error { return s.watched(&s.watchdog.syncs, call) })
}

func (s *frameWriter) watched(w *watch, call func() error) error {
	mu := &s.watchdog.mu
	mu.Lock()
	if w.calls++; w.calls == 1 {
		s.watchLocked(w)
	}
	mu.Unlock()
	err := call()
	mu.Lock()
	if w.calls--; w.calls > 0 {
		s.watchLocked(w) // something comes back
	}
	over := w.hangs
	w.hangs = false
	mu.Unlock()
	if over {
		s.diskAnswers()
	}
	return err
}

// watchLocked begins hangsAfter anew for the calls of w that are under way. watchdog.mu is held.
func (s *frameWriter) watchLocked(w *watch) {
	w.since = time.Now()
	switch {
	case w.timer == nil:
		w.timer = time.AfterFunc(hangsAfter, func() { s.diskHangs(w) })
	case !w.armed:
		w.timer.Reset(hangsAfter)
	}
	w.armed = true
}

// untilHangs is closed when the disk hangs.
func (w *watchdog) untilHangs() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.all.hangs:
		noted := make(chan struct{})
		close(noted)
		return noted
	case w.noted == nil:
		w.noted = make(chan struct{})
	}
	return w.noted
}

// tryOnDisk is onDisk for a caller that must not wait for a disk that hangs. false: its heir has gone on meanwhile, and the
// caller ends without touching what was its own. errDiskHangs: such a call hung already, and this one was not made.
func (s *frameWriter) tryOnDisk(h *heir, call func() error) (ok bool, err error) {
	w := &s.watchdog
	w.mu.Lock()
	if w.left > 0 {
		w.mu.Unlock()
		return true, errDiskHangs
	}
	w.heirs = append(w.heirs, h)
	if w.all.hangs { // by a call of another kind, for which the timer has run out
		s.watchLocked(&w.all)
	}
	w.mu.Unlock()
	err = s.onDisk(call)
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.heirs, h)
	if i < 0 {
		w.left--
		return false, nil
	}
	w.heirs = slices.Delete(w.heirs, i, i+1)
	return true, err
}

// tryToRead is tryOnDisk for a read, which has a watch of its own: a disk that hangs may read from memory, and that says
// nothing about what is written.
func (s *frameWriter) tryToRead(heir, call func()) (ok bool, err error) {
	w := &s.watchdog
	w.mu.Lock()
	if w.unread > 0 {
		w.mu.Unlock()
		return true, errDiskHangs
	}
	w.mu.Unlock()
	back, left := false, false // guarded by w.mu
	timer := time.AfterFunc(hangsAfter, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if left = !back; left {
			w.unread++
			s.tasks.Go(heir) // the caller is a task that has not ended
		}
	})
	call()
	timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if back = true; left {
		w.unread--
	}
	return !left, nil
}

// readOrLeave makes a call of the spooler that reads the disk. errDiskHangs: it has not come back, or one before it has not. Then
// nothing that it writes to is looked at any more.
func (s *frameWriter) readOrLeave(call func()) error {
	w := &s.watchdog
	w.mu.Lock()
	hangs := w.unread > 0
	w.mu.Unlock()
	if hangs {
		return errDiskHangs
	}
	back, left := make(chan struct{}), false // left is guarded by w.mu
	s.tasks.Go(func() {
		call()
		close(back)
		w.mu.Lock()
		if left {
			w.unread--
		}
		w.mu.Unlock()
	})
	timer := time.NewTimer(hangsAfter)
	defer timer.Stop()
	select {
	case <-back:
		return nil
	case <-timer.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-back:
		return nil
	default:
	}
	left = true
	w.unread++
	return errDiskHangs
}

// diskHangs lets batches go without their frames, so that a healthy Kafka gets them and their clients hear of it. The timer of
// which calls it, perhaps too early.
func (s *frameWriter) diskHangs(which *watch) {
	w := &s.watchdog
	s.mu.Lock() // before w.mu, so that diskAnswers comes after this
	defer s.mu.Unlock()
	w.mu.Lock()
	if left := hangsAfter - time.Since(which.since); which.calls > 0 && left > 0 {
		which.timer.Reset(left)
		w.mu.Unlock()
		return
	}
	which.armed, which.hangs = false, which.calls > 0
	hangs, heirs := which.hangs, []*heir(nil)
	if hangs && which == &w.all {
		heirs = w.heirs
		w.heirs, w.left = nil, w.left+len(heirs)
		if w.noted != nil {
			close(w.noted)
			w.noted = nil
		}
	}
	w.mu.Unlock()
	if !hangs {
		return
	}
	for _, h := range heirs {
		s.tasks.Go(h.goOn) // the callers are tasks that have not ended
	}
	s.disk.hangs = true
	if s.disk.hungAt.IsZero() {
		s.disk.hungAt = time.Now()
	}
	if s.unfinished.Load() {
		s.tasks.Go(s.endSent) // the spooler may be what hangs
	}
	if s.disk.err == nil {
		s.diskFailsLocked(errDiskHangs)
	}
	for _, b := range s.brokers {
		b.signal()
	}
	wake(s.disk.kick) // dead letters wait no longer for what is not confirmed
}

func (s *frameWriter) diskAnswers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.watchdog
	w.mu.Lock()
	s.disk.hangs = w.all.hangs || w.syncs.hangs
	if w.all.calls == 0 {
		s.disk.hungAt = time.Time{}
	}
	w.mu.Unlock()
	if s.disk.hangs {
		return // calls of the other kind do not come back
	}
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

// diskIsSlow reports whether a call of the disk hangs, and has not for long: what waits for the disk is not given up for that.
func (s *core) diskIsSlow() bool {
	return errors.Is(s.disk.err, errDiskHangs) && time.Since(s.disk.hungAt) < s.deps.stuckAfter
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
	if !s.writing.lockUnless(s.watchdog.untilHangs()) {
		return time.Time{}
	}
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
	s.disk.holding, s.reserved = false, false
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
		s.disk.hungAt = time.Time{}
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
