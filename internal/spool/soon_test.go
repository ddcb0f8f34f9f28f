package spool_test

import (
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestRoomOfSegmentsThatHaveJustEnded: their files are removed later, but not too late for what needs their room.
func TestRoomOfSegmentsThatHaveJustEnded(t *testing.T) {
	const size, keepFree = 1<<20 + 230<<10, 1 << 20
	for name, needs := range map[string]func(s *spool.Spool, q *spool.Queue) error{
		"a frame": func(_ *spool.Spool, q *spool.Queue) error {
			_, err := q.Append(spool.Meta{Events: 1}, make([]byte, 10_000))
			return err
		},
		"an event that is set aside": func(s *spool.Spool, _ *spool.Queue) error {
			return s.SetAside(make([]byte, 20_000), [32]byte{1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := spooltest.New(size)
			s, err := spool.Open(spool.Config{Dir: "d", SegmentBytes: 64 << 10, MaxBytes: 8 << 20, KeepFree: keepFree}, spool.Deps{FS: fs, Boot: "b"})
			if err != nil {
				t.Fatal(err)
			}
			q := spooltest.Queue(s, "t", 0)
			positions, _ := fill(q, 10_000)
			if needs(s, q) == nil {
				t.Fatal("the disk is not full")
			}
			last := positions[len(positions)-1].Segment()
			for _, pos := range positions {
				if pos.Segment() < last {
					if err := q.DoneSoon(pos); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := needs(s, q); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSegmentsThatHaveJustEndedCount: a spool that is full does not take more while their files are there.
func TestSegmentsThatHaveJustEndedCount(t *testing.T) {
	for frame := 2_000; frame <= 40_000; frame += 1_700 {
		fs := spooltest.New(1 << 40)
		s, err := spool.Open(spool.Config{Dir: "d", SegmentBytes: 256 << 10, MaxBytes: 4 << 20}, spool.Deps{FS: fs, Boot: "b"})
		if err != nil {
			t.Fatal(err)
		}
		q := spooltest.Queue(s, "t", 0)
		positions, _ := fill(q, frame)
		full := fs.Used()
		for first := positions[0].Segment(); positions[0].Segment() == first; positions = positions[1:] {
			if err := q.DoneSoon(positions[0]); err != nil {
				t.Fatal(err)
			}
		}
		more := 0
		for ; err == nil; more++ {
			_, err = q.Append(spool.Meta{Events: 1}, make([]byte, frame))
			if n := fs.Used(); n > full+int64(frame) {
				t.Fatalf("frames of %d bytes: %d bytes on the disk, %d when it was full", frame, n, full)
			}
		}
		if more < 200_000/frame {
			t.Errorf("frames of %d bytes: there was room for %d", frame, more)
		}
	}
}

// TestAWriteThatMeetsAQuota: the disk has less room than it says. It is not full while files of segments that have just ended are
// there.
func TestAWriteThatMeetsAQuota(t *testing.T) {
	fs := spooltest.New(1 << 20)
	s, err := spool.Open(spool.Config{Dir: "d", SegmentBytes: 64 << 10, MaxBytes: 8 << 20}, spool.Deps{FS: roomy{fs}, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	q := spooltest.Queue(s, "t", 0)
	var positions []spool.Pos
	put := func() error {
		pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, 10_000))
		positions = append(positions, pos)
		return err
	}
	for range 32 { // the last segment has room
		if err := put(); err != nil {
			t.Fatal(err)
		}
	}
	fs.SetBudget(fs.Used() + 5000)
	ended := 0
	for first := positions[0].Segment(); positions[ended].Segment() <= first+1; ended++ {
		if err := q.DoneSoon(positions[ended]); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(); err != nil {
		t.Error(err)
	}
	if err := s.Stats().Latched; err != nil {
		t.Error(err)
	}
	for at, buf := spool.Pos(0), []byte(nil); ended < len(positions); ended++ {
		f, pos, err := q.PeekAfter(at, buf)
		if err != nil || pos != positions[ended] {
			t.Fatalf("frame %d is at %d, want %d: %v", ended, pos, positions[ended], err)
		}
		at, buf = pos, f.Batch[:0]
	}
}

// roomy is a file system that does not tell of a quota.
type roomy struct{ *spooltest.FS }

func (roomy) Free(string) (int64, error) { return 1 << 40, nil }

// TestOneSegmentThatHasJustEnded: its file would become the spare one, and is removed where an event needs the room.
func TestOneSegmentThatHasJustEnded(t *testing.T) {
	fs := spooltest.New(2 << 20)
	s, err := spool.Open(spool.Config{Dir: "d", SegmentBytes: 64 << 10, MaxBytes: 8 << 20, KeepFree: 1 << 20}, spool.Deps{FS: fs, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	q := spooltest.Queue(s, "t", 0)
	positions, _ := fill(q, 10_000)
	for first := positions[0].Segment(); positions[0].Segment() == first; positions = positions[1:] {
		if err := q.DoneSoon(positions[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetAside(make([]byte, 50_000), [32]byte{1}); err != nil {
		t.Error(err)
	}
}
