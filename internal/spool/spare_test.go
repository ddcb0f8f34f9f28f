package spool_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestFilesAreReused: two files are enough for as long as the frames of a segment are done before the next one ends,
// whether or not the last of them still are under way when it does. Nobody asks for the free space meanwhile.
func TestFilesAreReused(t *testing.T) {
	fs := spooltest.New(1 << 30)
	ops := map[spooltest.Op]int{}
	fs.SetFault(func(op spooltest.Op, name string) error {
		if strings.Contains(name, ".seg") || op == spooltest.OpFree {
			ops[op]++
		}
		return nil
	})
	s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 16 << 10, MaxBytes: 1 << 20}, spool.Deps{FS: fs, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	q, rng := spooltest.Queue(s, "t", 0), rand.New(rand.NewPCG(1, 2))
	last := spool.Pos(0)
	for range 20_000 {
		pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, 100+rng.IntN(2000)))
		if err != nil {
			t.Fatal(err)
		}
		if last = pos; rng.IntN(3) > 0 { // else it is under way for a while
			if err := q.Done(last); err != nil {
				t.Fatal(err)
			}
		}
	}
	if last.Segment() < 1000 || ops[spooltest.OpCreate] > 2 || ops[spooltest.OpRemove] > 0 || ops[spooltest.OpFree] > 1 {
		t.Errorf("%d segments: %v", last.Segment(), ops)
	}
}

// TestReuseOnFullDisk: when others have filled the disk, frames still go into the blocks that the spool's own files have.
func TestReuseOnFullDisk(t *testing.T) {
	m := newModel(t, 1, spool.Config{SegmentBytes: 64 << 10, MaxBytes: 1 << 20, KeepFree: 1 << 20})
	m.fs.SetBudget(16 << 20)
	m.mustOpen()
	q := m.queue(0)
	if _, err := q.Append(spool.Meta{Events: 1}, make([]byte, 60_000)); err != nil {
		t.Fatal(err)
	}
	m.fs.SetBudget(0)
	if _, err := fill(q, 1000); !errors.Is(err, spool.ErrFull) && !spooltest.IsFull(err) {
		t.Fatal(err)
	}
	for _, positions := m.contents(0); len(positions) > 0; positions = positions[1:] {
		if err := q.Done(positions[0]); err != nil {
			t.Fatal(err)
		}
	}
	m.now = m.now.Add(spool.RetryEvery)
	for range 1000 {
		pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, 10_000))
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Done(pos); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fill(q, 10_000); !errors.Is(err, spool.ErrFull) {
		t.Errorf("err = %v", err)
	}
}
