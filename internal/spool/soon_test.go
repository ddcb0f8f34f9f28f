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
