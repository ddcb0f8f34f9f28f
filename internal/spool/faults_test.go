package spool_test

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestOneFaultAtEveryOperation: one operation fails, alone or with the two after it; the spool goes on by
// itself when the disk works again, and what it said before, during and after is true after a kill.
func TestOneFaultAtEveryOperation(t *testing.T) {
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, length := range []int{1, 3} {
			for n := 1; ; n++ {
				m := newModel(t, 7, spool.Config{SegmentBytes: 4096, MaxBytes: 1 << 20})
				m.faulty = true
				ops := 0
				m.fs.SetFault(func(spooltest.Op, string) error {
					if ops++; ops >= n && ops < n+length {
						return fault
					}
					return nil
				})
				for tries := 0; m.open() != nil; tries++ { // the directory, its lock or a list of it
					if tries == length {
						t.Fatal("cannot be opened any more")
					}
				}
				for range 60 {
					m.step(true)
				}
				if ops < n {
					break
				}
				m.fs.SetFault(nil)
				m.now = m.now.Add(time.Minute) // more than the pause after any number of failed syncs
				m.mustAppendAndSync()
				m.after(killed)
				m.compare(killed)
			}
		}
	}
}

// mustAppendAndSync: the spool works.
func (m *model) mustAppendAndSync() {
	m.t.Helper()
	before := len(m.frames[0])
	m.append(0)
	if len(m.frames[0]) == before {
		m.t.Fatalf("cannot be written to: %+v", m.s.Stats())
	}
	f := m.frames[0][before]
	if err := m.s.Sync(f.pos, f.pos); err != nil {
		m.t.Fatal(err)
	}
	f.synced = true
	if st := m.s.Stats(); st.Latched != nil {
		m.t.Fatalf("latched: %v", st.Latched)
	}
}

// TestDiskFull: the disk is full in the middle of a frame. The segment gets nothing more, nothing that
// was taken is lost, and the spool goes on when there is space.
func TestDiskFull(t *testing.T) {
	m := newModel(t, 1, spool.Config{SegmentBytes: 1 << 16, MaxBytes: 1 << 24})
	m.mustOpen()
	q := m.queue(0)
	m.append(0)
	m.fs.SetBudget(0)
	if _, err := q.Append(spool.Meta{}, make([]byte, 4096)); !errors.Is(err, spool.ErrFull) || !spooltest.IsFull(err) {
		t.Fatalf("err = %v", err)
	}
	writes := m.fs.Ops()
	if _, err := q.Append(spool.Meta{}, make([]byte, 10)); !errors.Is(err, spool.ErrFull) || m.fs.Ops() != writes {
		t.Fatalf("the disk was tried again at once: %v", err)
	}
	m.now = m.now.Add(spool.RetryEvery)
	if _, err := q.Append(spool.Meta{}, make([]byte, 10)); !errors.Is(err, spool.ErrFull) { // no space is free, it sees that first
		t.Fatalf("err = %v", err)
	}
	m.peek(0, false)
	m.fs.SetBudget(1 << 30)
	m.now = m.now.Add(spool.RetryEvery)
	m.mustAppendAndSync()
	if first, second := m.frames[0][0].pos, m.frames[0][1].pos; first.Segment() == second.Segment() {
		t.Error("the segment of the failed write was used again")
	}
	m.after(crashed)
	m.compare(crashed)
}

// TestSyncFails: frames whose sync failed are never called durable, also not by a later sync; the ones
// before and after are.
func TestSyncFails(t *testing.T) {
	m := newModel(t, 1, spool.Config{})
	m.mustOpen()
	q := m.queue(0)
	put := func() spool.Pos {
		m.now = m.now.Add(time.Minute) // the pause after a failed sync
		pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		return pos
	}
	a := put()
	if err := m.s.Sync(a, a); err != nil {
		t.Fatal(err)
	}
	b := put()
	failing := true
	m.fs.SetFault(func(op spooltest.Op, _ string) error {
		if failing && op == spooltest.OpSync {
			return syscall.EIO
		}
		return nil
	})
	if err := m.s.Sync(b, b); !errors.Is(err, spool.ErrNotDurable) {
		t.Fatalf("err = %v", err)
	}
	if m.s.Stats().Latched == nil {
		t.Error("not latched")
	}
	failing = false
	c := put()
	if c.Segment() == b.Segment() {
		t.Error("the segment of the failed sync was used again")
	}
	for _, x := range []struct {
		first, last spool.Pos
		want        error
	}{{a, a, nil}, {b, b, spool.ErrNotDurable}, {a, c, spool.ErrNotDurable}, {c, c, nil}, {0, a, nil}} {
		if err := m.s.Sync(x.first, x.last); !errors.Is(err, x.want) {
			t.Errorf("Sync(%v, %v) = %v, want %v", x.first, x.last, err, x.want)
		}
	}
	if f, pos, err := q.PeekAfter(a, nil); err != nil || pos != b || f.Events != 1 {
		t.Errorf("the frame is not in its queue: %v, %v", pos, err)
	}
	if err := q.Done(b); err != nil {
		t.Fatal(err)
	}
	if err := m.s.Sync(b, b); err != nil {
		t.Errorf("a frame that is done needs no sync: %v", err)
	}
}

// TestDamageUnderWay: a frame that is damaged after it was written is put into quarantine when it is
// read; the next one is returned.
func TestDamageUnderWay(t *testing.T) {
	m := newModel(t, 1, spool.Config{})
	m.mustOpen()
	for range 3 {
		m.append(0)
	}
	frames := m.frames[0]
	m.fs.Flip(m.fs.Names()[0], frames[0].pos.Offset()+70)
	frames[0].done = true
	m.peek(0, false)
	m.lengths(0)
	if st := m.s.Stats(); st.LostFrames != 1 || st.LostEvents != int64(frames[0].id%7) || st.Quarantined != 1 {
		t.Errorf("%+v", st)
	}
	frames[0].maybe = true
	m.after(killed)
	m.compare(killed)
}

// TestUnreadable: a frame that the disk cannot read is tried for a time, then given up; the file is kept.
func TestUnreadable(t *testing.T) {
	m := newModel(t, 1, spool.Config{})
	m.mustOpen()
	m.append(0)
	m.fs.SetFault(func(op spooltest.Op, _ string) error {
		if op == spooltest.OpRead {
			return syscall.EIO
		}
		return nil
	})
	for range 5 {
		if _, _, err := m.queue(0).Peek(nil); !errors.Is(err, syscall.EIO) {
			t.Fatalf("err = %v", err)
		}
	}
	m.now = m.now.Add(spool.GiveUpAfter)
	if _, _, err := m.queue(0).Peek(nil); err != io.EOF {
		t.Fatalf("err = %v", err)
	}
	m.fs.SetFault(nil)
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	if names := m.fs.Names(); len(names) != 2 || names[1][:len(dir)+11] != dir+"/quarantine" {
		t.Errorf("files: %v", names)
	}
}

// TestClosed: nothing works after Close, and Close can be called again.
func TestClosed(t *testing.T) {
	m := newModel(t, 1, spool.Config{})
	m.mustOpen()
	m.append(0)
	pos := m.frames[0][0].pos
	for range 2 {
		if err := m.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	q := m.queue(0)
	_, appendErr := q.Append(spool.Meta{})
	_, _, peekErr := q.Peek(nil)
	for _, err := range []error{appendErr, peekErr, q.Done(pos), q.Sending(pos, spool.Stamp{}), m.s.Sync(pos, pos+1), m.s.SetAside(nil, [32]byte{})} {
		if !errors.Is(err, spool.ErrClosed) {
			t.Errorf("err = %v", err)
		}
	}
	if err := m.s.Sync(pos, pos); err != nil {
		t.Errorf("what Close made durable is not: %v", err)
	}
}

// TestReplacingUsesWhatIsLeftToOthers: frames that replace others are written when the disk has less than KeepFree,
// because nothing is delivered before and the others go for them. New frames are not, and a disk without any room is full.
func TestReplacingUsesWhatIsLeftToOthers(t *testing.T) {
	m := newModel(t, 1, spool.Config{SegmentBytes: 1 << 16, MaxBytes: 1 << 24, KeepFree: 1 << 30})
	m.fs.SetBudget(2 << 30)
	m.mustOpen()
	old, err := spooltest.Queue(m.s, "a", -1).Append(spool.Meta{Events: 1}, make([]byte, 1<<15))
	if err != nil {
		t.Fatal(err)
	}
	m.fs.SetBudget(1 << 30)
	m.fs = m.fs.Kill()
	m.mustOpen()
	if _, err := spooltest.Queue(m.s, "a", 0).Append(spool.Meta{Events: 1}, make([]byte, 1<<15)); !errors.Is(err, spool.ErrFull) {
		t.Fatalf("a new frame: %v", err)
	}
	for range 4 {
		if _, err := spooltest.Queue(m.s, "a", 0).Append(spool.Meta{Events: 1, Replaces: old}, make([]byte, 1<<15)); err != nil {
			t.Fatalf("a frame that replaces another: %v", err)
		}
	}
	m.fs.SetBudget(0)
	if _, err := spooltest.Queue(m.s, "a", 0).Append(spool.Meta{Events: 1, Replaces: old}, make([]byte, 1<<20)); !errors.Is(err, spool.ErrFull) {
		t.Fatalf("without any room: %v", err)
	}
}

// TestNoFloodOfSegments: a disk that takes every write and confirms none costs a segment and a line in the log for each
// attempt, and the attempts become rarer.
func TestNoFloodOfSegments(t *testing.T) {
	var log strings.Builder
	fs := spooltest.New(1 << 40)
	now := time.UnixMilli(1)
	s, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 1 << 30}, spool.Deps{FS: fs, Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	fs.SetFault(func(op spooltest.Op, name string) error {
		if op == spooltest.OpSync {
			return syscall.EIO
		}
		return nil
	})
	q := spooltest.Queue(s, "t", 0)
	tries := 0
	for range 6000 { // ten minutes
		now = now.Add(100 * time.Millisecond)
		pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, 100))
		if err != nil {
			continue
		}
		tries++
		if err := s.Sync(pos, pos); !errors.Is(err, spool.ErrNotDurable) {
			t.Fatal(err)
		}
	}
	if tries < 10 || tries > 40 {
		t.Errorf("%d attempts in ten minutes", tries)
	}
	if st := s.Stats(); st.Segments > tries+1 {
		t.Errorf("%d segments after %d attempts", st.Segments, tries)
	}
	if n := strings.Count(log.String(), "\n"); n > 5 {
		t.Errorf("%d lines in the log: %s", n, log.String())
	}
	fs.SetFault(nil)
	now = now.Add(time.Minute)
	for range 2 {
		pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, 100))
		if err != nil {
			t.Fatalf("the disk works again: %v", err)
		}
		if err := s.Sync(pos, pos); err != nil {
			t.Fatal(err)
		}
	}
}

// The stamp of a frame that was not written (no room, or an error, for the stamp) is not that of the frame that is
// written there next.
func TestStampOfAFrameThatIsNotThere(t *testing.T) {
	m := newModel(t, 1, spool.Config{})
	m.mustOpen()
	if _, err := m.queue(0).Append(spool.Meta{Records: 1}, []byte("a")); err != nil {
		t.Fatal(err)
	}
	m.fs.SetBudget(m.fs.Used()) // others have taken what was known to be free
	doubt := [1]spool.Write{{Queue: m.queue(1), Meta: spool.Meta{Records: 1}, Batch: [][]byte{[]byte("b")}, InDoubt: true, Stamp: spool.Stamp{ProducerID: 7, BaseSequence: 3}}}
	if _, err := m.s.Append(doubt[:]); err == nil {
		t.Fatal("it was written")
	}
	m.fs.SetBudget(1 << 30)
	m.now = m.now.Add(1 << 40)
	pos, err := m.queue(1).Append(spool.Meta{Records: 1}, []byte("c")) // never sent
	if err != nil {
		t.Fatal(err)
	}
	if at, st, ok := m.queue(1).Doubt(); ok && at == pos {
		t.Errorf("frame %v was never sent, and %v is in doubt under %+v", pos, at, st)
	}
}
