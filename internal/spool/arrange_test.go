package spool_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// spoolWith makes a directory with frames of partition 0, of which the first done are done, and ends its process.
func spoolWith(t *testing.T, from, n, done int) *spooltest.FS {
	t.Helper()
	fs := spooltest.New(1 << 40)
	s := openFS(t, fs)
	q := spooltest.Queue(s, "t", 0)
	for i := range n {
		if _, err := q.Append(spool.Meta{Events: 1, Records: int32(from + i)}, make([]byte, 900)); err != nil {
			t.Fatal(err)
		}
	}
	for range done {
		pos, _, _, _ := q.Head()
		if err := q.Done(pos); err != nil {
			t.Fatal(err)
		}
	}
	return fs.Kill()
}

func openFS(t *testing.T, fs spool.FS) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 4096, MaxBytes: 1 << 20}, spool.Deps{FS: fs, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// takeAll sends everything that is in partition 0 and returns its ids.
func takeAll(t *testing.T, s *spool.Spool) (ids []int) {
	t.Helper()
	q := spooltest.Queue(s, "t", 0)
	last := spool.Pos(0)
	for {
		f, pos, err := q.Peek(nil)
		if err != nil {
			break
		}
		if pos <= last {
			t.Errorf("position %v after %v", pos, last)
		}
		last = pos
		ids = append(ids, int(f.Records))
		if err := q.Sending(pos, stampOf(pos)); err != nil {
			t.Fatal(err)
		}
		if err := q.Done(pos); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// copySegments copies the segments of a directory onto another one; rename may change their names.
func copySegments(from, to *spooltest.FS, rename func(string) string) {
	for _, name := range from.Names() {
		if filepath.Ext(name) == ".seg" {
			data := slices.Clone(from.Bytes(name))
			to.Edit(rename(name), func([]byte) []byte { return data })
		}
	}
}

func same(name string) string { return name }

func kindsOf(t *testing.T, fs spool.FS) map[spool.Kind]int {
	t.Helper()
	kinds := map[spool.Kind]int{}
	if _, err := spool.Inspect(spool.Inspection{Dir: dir, FS: fs, Pause: func() {}}, func(p *spool.Piece) error { kinds[p.Kind]++; return nil }); err != nil {
		t.Fatal(err)
	}
	return kinds
}

// TestTwoSegmentsOfOneNumber: a spool was copied onto another one. Every frame of both comes, what may have been
// sent is suspect, and the next start finds nothing to mend.
func TestTwoSegmentsOfOneNumber(t *testing.T) {
	for done := range 4 {
		a, b := spoolWith(t, 1, 10, done), spoolWith(t, 101, 10, done)
		copySegments(b, a, same)
		if kinds := kindsOf(t, a); kinds[spool.KindDisplaced] == 0 {
			t.Fatalf("an inspection finds %v", kinds)
		}
		s := openFS(t, a)
		if upTo, ok := spooltest.Queue(s, "t", 0).Suspect(); !ok || upTo != spooltest.Queue(s, "t", 0).Tail() {
			t.Errorf("suspect up to %v, %v", upTo, ok)
		}
		if kinds := kindsOf(t, a); kinds[spool.KindDisplaced] != 0 {
			t.Errorf("while it is open an inspection finds %v", kinds)
		}
		again := openFS(t, a.Kill()) // killed before anything was sent
		for name, s := range map[string]*spool.Spool{"first": s, "killed": again} {
			got := takeAll(t, s)
			slices.Sort(got)
			for i := range 10 - done {
				for _, id := range []int{1 + done + i, 101 + done + i} {
					if !slices.Contains(got, id) {
						t.Errorf("%s: frame %d is lost: %v", name, id, got)
					}
				}
			}
			if len(slices.Compact(slices.Clone(got))) != len(got) {
				t.Errorf("%s: a frame came twice: %v", name, got)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if rest := takeAll(t, openFS(t, a)); len(rest) != 0 {
			t.Errorf("after all was sent these come again: %v", rest)
		}
	}
}

// TestThreeOfOneNumberAndGaps: numbers that are missing, and a number that three segments have.
func TestThreeOfOneNumberAndGaps(t *testing.T) {
	a := spoolWith(t, 1, 20, 0)
	for _, from := range []int{101, 201} {
		copySegments(spoolWith(t, from, 4, 0), a, same)
	}
	copySegments(spoolWith(t, 301, 4, 0), a, func(name string) string { return strings.Replace(name, "/00000001-", "/00000fff-", 1) })
	s := openFS(t, a)
	if got := takeAll(t, s); len(got) != 32 {
		t.Errorf("%d of 32 frames: %v", len(got), got)
	}
}

// TestSegmentFileTwice: a second file of the same segment, under another number, is not sent twice.
func TestSegmentFileTwice(t *testing.T) {
	for _, other := range []string{"/00000002-", "/00000fff-"} {
		a := spoolWith(t, 1, 3, 1)
		copySegments(a, a, func(name string) string { return strings.Replace(name, "/00000001-", other, 1) })
		if kinds := kindsOf(t, a); kinds[spool.KindCopy] != 1 {
			t.Errorf("an inspection finds %v", kinds)
		}
		s := openFS(t, a)
		if got := takeAll(t, s); !slices.Equal(got, []int{2, 3}) {
			t.Errorf("%s: %v", other, got)
		}
		if st := s.Stats(); st.Quarantined != 1 {
			t.Errorf("%s: %+v", other, st)
		}
	}
}

// TestNumbersAtTheMaximum: a segment or a cursor with a number close to the end does not make later frames look
// done, at any start after it.
func TestNumbersAtTheMaximum(t *testing.T) {
	for _, number := range []string{"ffffffff", "fffffffe", "40000001"} {
		a := spoolWith(t, 1, 10, 0)
		copySegments(spoolWith(t, 101, 2, 0), a, func(name string) string { return strings.Replace(name, "/00000001-", "/"+number+"-", 1) })
		s := openFS(t, a)
		if got := takeAll(t, s); len(got) != 12 || !slices.IsSorted(got) {
			t.Fatalf("%s: %v", number, got)
		}
		for round := range 3 {
			q := spooltest.Queue(s, "t", 0)
			if pos, err := q.Append(spool.Meta{Records: int32(round)}, make([]byte, 900)); err != nil || pos.Segment() > 100 {
				t.Fatal(pos, err)
			}
			a = a.Kill()
			s = openFS(t, a)
			if _, ok := spooltest.Queue(s, "t", 0).Suspect(); ok {
				t.Errorf("%s: still suspect in round %d", number, round)
			}
			if got := takeAll(t, s); !slices.Equal(got, []int{round}) {
				t.Fatalf("%s, round %d: %v", number, round, got)
			}
		}
	}
}

// TestReadErrorAtOpen: an error of the disk while the directory is read, at any operation, is an error of Open. It
// changes nothing, and the next Open finds everything.
func TestReadErrorAtOpen(t *testing.T) {
	made := spoolWith(t, 1, 10, 3)
	reads := map[spooltest.Op]bool{spooltest.OpRead: true, spooltest.OpOpen: true, spooltest.OpSize: true, spooltest.OpList: true}
	failed := 0
	for n := 1; ; n++ {
		fs, ops := made.Kill(), 0
		before := fs.Kill()
		fs.SetFault(func(op spooltest.Op, name string) error {
			if reads[op] {
				if ops++; ops == n {
					return syscall.EIO
				}
			}
			return nil
		})
		s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 4096, MaxBytes: 1 << 20}, spool.Deps{FS: fs, Boot: "b"})
		if ops < n {
			break
		}
		fs.SetFault(nil)
		if err != nil {
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("operation %d: %v", n, err)
			}
			failed++
			unchanged(t, before, fs)
			s = openFS(t, fs)
		}
		if st := s.Stats(); st.Quarantined != 0 || st.LostCursors != 0 || st.RecoveredFrames != 7 {
			t.Errorf("operation %d: %+v", n, st)
		}
		if got := fmt.Sprint(takeAll(t, s)); got != "[4 5 6 7 8 9 10]" {
			t.Errorf("operation %d: %s", n, got)
		}
	}
	if failed < 10 {
		t.Errorf("only %d operations failed", failed)
	}
}
