package spool_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// twoSegments opens a spool with n frames in one queue, in two segments at least, which frames of another one keep.
func twoSegments(t *testing.T, fs *spooltest.FS, n int) (s *spool.Spool, q, other *spool.Queue, last spool.Pos) {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 1 << 20}, spool.Deps{FS: fs, Boot: "1"})
	if err != nil {
		t.Fatal(err)
	}
	q, other = spooltest.Queue(s, "t", -1), spooltest.Queue(s, "other", 0)
	for range n {
		if last, err = q.Append(spool.Meta{Events: 1}, make([]byte, 10<<10)); err != nil {
			t.Fatal(err)
		}
	}
	return s, q, other, last
}

// failSyncs lets the next n syncs of the cursors fail.
func failSyncs(fs *spooltest.FS, n int) {
	fs.SetGate(func(op spooltest.Op, name string) error {
		if op == spooltest.OpSync && filepath.Base(name) == "cursors" && n > 0 {
			n--
			return syscall.EIO
		}
		return nil
	})
}

// TestTheEndOfPlacedFramesIsWrittenAnew: the kernel drops what it could not write, and tells that once. What DoneDurably holds goes
// when the cursors were written again, and Close does not put its mark above older ones.
func TestTheEndOfPlacedFramesIsWrittenAnew(t *testing.T) {
	for _, closes := range []bool{false, true} {
		for seed := range uint64(20) {
			fs := spooltest.New(1 << 30)
			s, q, other, last := twoSegments(t, fs, 8)
			positions, _ := fill(other, 10<<10)
			first, _, _, _ := q.Head()
			if err := errors.Join(s.Sync(0, positions[len(positions)-1]), s.WriteCursors(), s.DoneDurably(q, first)); err != nil {
				t.Fatal(err)
			}
			if err := other.Done(positions[0]); err != nil {
				t.Fatal(err)
			}
			failSyncs(fs, 1)
			if s.DoneDurably(q, last) == nil {
				t.Fatal("it did not fail")
			}
			again := s.WriteCursors
			if closes {
				again = s.Close
			}
			if err := again(); err != nil {
				t.Fatal(err)
			}
			s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{FS: fs.Crash(rand.New(rand.NewPCG(seed, 1))), Boot: "2"})
			if err != nil {
				t.Fatal(err)
			}
			want := int64(len(positions) - 1)
			if n := events(s, -1); n != 0 {
				t.Errorf("closes %v, seed %d: %d events are back", closes, seed, n)
			}
			if f, _, n, _ := spooltest.Queue(s, "other", 0).Head(); closes && n > 0 && f == positions[0] {
				t.Errorf("seed %d: an event of the other queue is back, want %d of them", seed, want)
			}
			_ = s.Close()
		}
	}
}

// TestNothingIsReclaimedOfWhatIsHeld: the space of frames that DoneDurably holds is not given back in parts.
func TestNothingIsReclaimedOfWhatIsHeld(t *testing.T) {
	for seed := range uint64(20) {
		fs := spooltest.New(1 << 30)
		s, q, other, last := twoSegments(t, fs, 10)
		positions, _ := fill(other, 10<<10)
		if err := errors.Join(s.Sync(0, positions[len(positions)-1]), s.WriteCursors()); err != nil {
			t.Fatal(err)
		}
		failSyncs(fs, 1000)
		if s.DoneDurably(q, last) == nil {
			t.Fatal("it did not fail")
		}
		if _, err := other.Append(spool.Meta{Events: 1}, make([]byte, 10<<10)); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("a full spool: %v", err)
		}
		back, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{FS: fs.Crash(rand.New(rand.NewPCG(seed, 1))), Boot: "2"})
		if err != nil {
			t.Fatal(err)
		}
		if n := events(back, -1); n != 0 && n != 10 {
			t.Errorf("seed %d: %d of 10 events are back", seed, n)
		}
		_ = back.Close()
		failSyncs(fs, 0)
		if err := s.WriteCursors(); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Append(spool.Meta{Events: 1}, make([]byte, 10<<10)); err != nil {
			t.Errorf("there is room when the end is durable: %v", err)
		}
	}
}

// TestWhatCannotBeCutOffIsNotWrittenAgain: a write meets a quota behind the first of two frames, and cutting it off fails. Written
// again they would be there twice.
func TestWhatCannotBeCutOffIsNotWrittenAgain(t *testing.T) {
	fs := spooltest.New(1 << 20)
	s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 8 << 20}, spool.Deps{FS: roomy{fs}, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	q := spooltest.Queue(s, "t", 0)
	var positions []spool.Pos
	for range 32 {
		pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, 10_000))
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, pos)
	}
	fs.SetBudget(fs.Used() + 15_000)
	for _, pos := range positions[:7] {
		if err := q.DoneSoon(pos); err != nil {
			t.Fatal(err)
		}
	}
	fs.SetGate(func(op spooltest.Op, _ string) error {
		if op == spooltest.OpTruncate {
			return syscall.EIO
		}
		return nil
	})
	w := []spool.Write{
		{Queue: q, Meta: spool.Meta{Events: 1}, Batch: [][]byte{make([]byte, 10_000)}},
		{Queue: q, Meta: spool.Meta{Events: 1}, Batch: [][]byte{make([]byte, 10_000)}},
	}
	if n, err := s.Append(w); !errors.Is(err, spool.ErrFull) {
		t.Errorf("%d frames, %v", n, err)
	}
}

// TestACursorThatCannotBeWrittenHoldsNobodyElse: the disk takes one cursor and not the other one. The end of the frames of the first
// is made durable, and their files go.
func TestACursorThatCannotBeWrittenHoldsNobodyElse(t *testing.T) {
	fs := spooltest.New(1 << 30)
	s, q, other, last := twoSegments(t, fs, 14)
	pos, err := other.Append(spool.Meta{Events: 1}, make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.WriteCursors(), other.DoneSoon(pos)); err != nil {
		t.Fatal(err)
	}
	writes := 0
	fs.SetGate(func(op spooltest.Op, name string) error {
		if op == spooltest.OpWrite && filepath.Base(name) == "cursors" {
			if writes++; writes > 1 {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	before := s.Stats().Segments
	if err := s.DoneDurably(q, last); err != nil || s.Stats().Segments >= before || writes < 2 {
		t.Errorf("%v; %d segments, %d before; %d writes", err, s.Stats().Segments, before, writes)
	}
	if s.WriteCursors() == nil {
		t.Error("the other cursor was written")
	}
}

// TestNoClosingMarkAboveCursorsThatWereLost: the sync of the cursors fails, and once more at the end. What comes back of other queues
// after a loss of power may have been delivered, and is called that.
func TestNoClosingMarkAboveCursorsThatWereLost(t *testing.T) {
	back := 0
	for seed := range uint64(20) {
		fs := spooltest.New(1 << 30)
		s, q, other, last := twoSegments(t, fs, 8)
		positions, _ := fill(other, 10<<10)
		first, _, _, _ := q.Head()
		if err := errors.Join(s.Sync(0, positions[len(positions)-1]), s.WriteCursors(), s.DoneDurably(q, first), other.Done(positions[3])); err != nil {
			t.Fatal(err)
		}
		failSyncs(fs, 2)
		if s.DoneDurably(q, last) == nil || s.Close() == nil {
			t.Fatal("they did not fail")
		}
		s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{FS: fs.Crash(rand.New(rand.NewPCG(seed, 1))), Boot: "2"})
		if err != nil {
			t.Fatal(err)
		}
		other = spooltest.Queue(s, "other", 0)
		if head, _, _, _ := other.Head(); head <= positions[3] {
			back++
			if _, ok := other.Suspect(); !ok {
				t.Errorf("seed %d: an event that was delivered is back, and is no suspect", seed)
			}
		}
		_ = s.Close()
	}
	if back == 0 {
		t.Error("nothing comes back: the test shows nothing")
	}
}
