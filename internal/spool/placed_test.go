package spool_test

import (
	"slices"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestPlaced: what replaces a frame counts from the moment on at which that frame is done. A kill before leaves
// the frame alone, one behind what replaces it: never both, never neither.
func TestPlaced(t *testing.T) {
	m := newModel(t, 1, spool.Config{MaxBytes: 1 << 20, SegmentBytes: 4 << 10})
	m.mustOpen()
	unassigned := spooltest.Queue(m.s, "t", -1)
	var sources []spool.Pos
	for i := range 3 {
		pos, err := unassigned.Append(spool.Meta{Events: 10, Records: 10, FirstTimestamp: int64(i)}, make([]byte, 1500))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, pos)
	}
	if _, err := spooltest.Queue(m.s, "t", 0).Append(spool.Meta{Events: 1}, []byte("of its own")); err != nil {
		t.Fatal(err)
	}
	want := func(when string, unassignedEvents, first, second int64) {
		t.Helper()
		m.s = nil
		var err error
		if m.s, err = spool.Open(m.cfg, spool.Deps{FS: m.fs.Kill(), Boot: "boot"}); err != nil {
			t.Fatal(err)
		}
		defer m.s.Close()
		st := m.s.Stats()
		if got := []int64{events(m.s, -1), events(m.s, 0), events(m.s, 1)}; !slices.Equal(got, []int64{unassignedEvents, first, second}) || st.RecoveredEvents != unassignedEvents+first+second || st.Quarantined != 0 {
			t.Errorf("%s: %v events, %+v", when, got, st)
		}
	}
	s := m.s
	place := func(source spool.Pos) {
		for id, n := range []int32{4, 6} {
			w := []spool.Write{{Queue: spooltest.Queue(s, "t", int32(id)), Meta: spool.Meta{Events: n, Replaces: source}, Batch: [][]byte{make([]byte, 700)}}}
			if _, err := s.Append(w); err != nil {
				t.Fatal(err)
			}
			f, at, err := spooltest.Queue(s, "t", int32(id)).PeekAfter(w[0].Pos-1, nil)
			if err != nil || at != w[0].Pos || len(f.Batch) != 700 || f.Events != n {
				t.Fatalf("read back: %v %v %v", f.Meta, at, err)
			}
		}
	}
	want("before", 30, 1, 0)
	place(sources[0])
	want("placed, not done", 30, 1, 0)
	if err := unassigned.Done(sources[0]); err != nil {
		t.Fatal(err)
	}
	want("done", 20, 5, 6)
	place(sources[1])
	want("one done, one placed", 20, 5, 6)
	place(sources[2])
	if err := unassigned.Done(sources[2]); err != nil {
		t.Fatal(err)
	}
	want("all done", 0, 13, 18)
}

// events reads a queue to its end.
func events(s *spool.Spool, partition int32) (n int64) {
	q := spooltest.Queue(s, "t", partition)
	for pos := spool.Pos(0); ; {
		f, at, err := q.PeekAfter(pos, nil)
		if err != nil {
			return n
		}
		n += int64(f.Events)
		pos = at
	}
}

// TestVoidStaysVoid: what was void once does not count when the frame that it was to replace is done at last.
func TestVoidStaysVoid(t *testing.T) {
	m := newModel(t, 1, spool.Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10})
	m.mustOpen()
	unassigned := spooltest.Queue(m.s, "t", -1)
	var src []spool.Pos
	for range 2 {
		pos, err := unassigned.Append(spool.Meta{Events: 10, Records: 10}, make([]byte, 1500))
		if err != nil {
			t.Fatal(err)
		}
		src = append(src, pos)
	}
	place := func(s *spool.Spool, source spool.Pos) {
		w := []spool.Write{{Queue: spooltest.Queue(s, "t", 0), Meta: spool.Meta{Events: 10, Replaces: source}, Batch: [][]byte{make([]byte, 700)}}}
		if _, err := s.Append(w); err != nil {
			t.Fatal(err)
		}
	}
	place(m.s, src[0]) // process 1 is killed before Done
	fs2 := m.fs.Kill()
	s2, err := spool.Open(m.cfg, spool.Deps{FS: fs2, Boot: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	place(s2, src[0])
	if err := spooltest.Queue(s2, "t", -1).Done(src[0]); err != nil {
		t.Fatal(err)
	}
	fs3 := fs2.Kill() // process 2 is killed before the second frame without a partition is placed
	s3, err := spool.Open(m.cfg, spool.Deps{FS: fs3, Boot: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	if l, p := events(s3, -1), events(s3, 0); l != 10 || p != 10 {
		t.Errorf("process 3: unassigned %d, placed %d events, want 10 and 10", l, p)
	}
}

// TestVoidHasNoPlace: a queue with nothing but void frames is empty.
func TestVoidHasNoPlace(t *testing.T) {
	m := newModel(t, 1, spool.Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10})
	m.mustOpen()
	pos, err := spooltest.Queue(m.s, "t", -1).Append(spool.Meta{Events: 10}, make([]byte, 1500))
	if err != nil {
		t.Fatal(err)
	}
	w := []spool.Write{{Queue: spooltest.Queue(m.s, "t", 0), Meta: spool.Meta{Events: 10, Replaces: pos}, Batch: [][]byte{make([]byte, 700)}}}
	if _, err := m.s.Append(w); err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(m.cfg, spool.Deps{FS: m.fs.Kill(), Boot: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	q := spooltest.Queue(s, "t", 0)
	if n, _, _ := q.Len(); n != 0 || q.Tail() != 0 {
		t.Errorf("%d frames, and the newest is %v", n, q.Tail())
	}
}

// TestPartitions: a queue knows among how many partitions its newest frame was placed, in the process that wrote it and in
// the next one.
func TestPartitions(t *testing.T) {
	m := newModel(t, 1, spool.Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10})
	m.mustOpen()
	for id, partitions := range [][]uint16{{3}, {3, 65535}, {8, 0}} {
		for _, n := range partitions {
			if _, err := spooltest.Queue(m.s, "t", int32(id)).Append(spool.Meta{Events: 1, Partitions: n}, []byte("batch")); err != nil {
				t.Fatal(err)
			}
		}
	}
	next, err := spool.Open(m.cfg, spool.Deps{FS: m.fs.Kill(), Boot: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*spool.Spool{m.s, next} {
		for id, want := range []uint16{3, 65535, 0} {
			if got := spooltest.Queue(s, "t", int32(id)).Partitions(); got != want {
				t.Errorf("queue %d: %d partitions, want %d", id, got, want)
			}
		}
	}
}
