package spool_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestKilledWhileItOpens: what makes an Open call frames suspect is still known after a kill at any operation of that
// Open, and of the one after it. Else copies of what was sent before would not be counted.
func TestKilledWhileItOpens(t *testing.T) {
	cursorFile := filepath.Join(dir, "cursors")
	for _, tt := range []struct {
		name string
		boot string // of the machine when the directory is opened
		made func() *spooltest.FS
	}{
		{"the machine was started anew", "another", func() *spooltest.FS { return spoolWith(t, 1, 10, 3) }},
		{"two segments of one number", "b", func() *spooltest.FS {
			a := spoolWith(t, 1, 10, 3)
			copySegments(spoolWith(t, 101, 10, 0), a, same)
			return a
		}},
		{"numbers at the maximum", "b", func() *spooltest.FS {
			a := spoolWith(t, 1, 10, 3)
			copySegments(spoolWith(t, 101, 2, 0), a, func(name string) string { return strings.Replace(name, "/00000001-", "/ffffffff-", 1) })
			return a
		}},
		{"a damaged copy of the cursor", "b", func() *spooltest.FS {
			a := spoolWith(t, 1, 10, 3)
			a.Flip(cursorFile, 512+20)
			return a
		}},
		{"no cursors", "b", func() *spooltest.FS {
			a := spoolWith(t, 1, 10, 3)
			if err := a.Remove(cursorFile); err != nil {
				t.Fatal(err)
			}
			return a
		}},
		{"damaged cursors", "b", func() *spooltest.FS {
			a := spoolWith(t, 1, 10, 3)
			a.Edit(cursorFile, func(p []byte) []byte { return slices.Repeat([]byte{0xff}, len(p)) })
			return a
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// open opens a directory and returns what it was before each operation.
			open := func(fs *spooltest.FS) (s *spool.Spool, before []*spooltest.FS) {
				opening := true
				fs.SetGate(func(spooltest.Op, string) error {
					if opening {
						before = append(before, fs.Kill())
					}
					return nil
				})
				s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 4096, MaxBytes: 1 << 20}, spool.Deps{FS: fs, Boot: tt.boot})
				opening = false
				if err != nil {
					t.Fatal(err)
				}
				q := spooltest.Queue(s, "t", 0)
				if upTo, ok := q.Suspect(); !ok || upTo < q.Tail() {
					t.Errorf("suspect up to %v, %v, and the last frame is %v", upTo, ok, q.Tail())
				}
				return s, before
			}
			s, killed := open(tt.made())
			want := takeAll(t, s)
			if len(killed) < 10 || len(want) < 7 {
				t.Fatalf("%d operations, frames %v", len(killed), want)
			}
			slices.Sort(want)
			for n, fs := range killed {
				_, again := open(fs.Kill())
				for m, fs := range again {
					if (n+m)%4 != 0 { // enough of them
						continue
					}
					s, _ := open(fs.Kill())
					got := takeAll(t, s)
					if slices.Sort(got); !slices.Equal(got, want) {
						t.Errorf("frames %v, want %v", got, want)
					}
					if t.Failed() {
						t.Fatalf("killed before operation %d, and then before operation %d", n, m)
					}
				}
				if t.Failed() {
					t.Fatalf("killed before operation %d", n)
				}
			}
		})
	}
}

// TestCopiedOntoAFrameThatWaitsForItsPartition: a frame of another spool stands for one that was placed there. In this
// spool the same position has one that was not: the frame counts all the same, at the first start and at later ones.
func TestCopiedOntoAFrameThatWaitsForItsPartition(t *testing.T) {
	// spoolOf has the frame that waits in segment 1, and in segment 2 what stands for it, if it was placed.
	spoolOf := func(placed bool) *spooltest.FS {
		fs := spooltest.New(1 << 40)
		s := openFS(t, fs)
		unassigned := spooltest.Queue(s, "t", -1)
		source, err := unassigned.Append(spool.Meta{Events: 1}, []byte("waits for its partition"))
		if err != nil {
			t.Fatal(err)
		}
		for pos := source; pos.Segment() == 1; {
			if pos, err = spooltest.Queue(s, "t", 1).Append(spool.Meta{Events: 1}, make([]byte, 900)); err != nil {
				t.Fatal(err)
			}
		}
		if placed {
			w := []spool.Write{{Queue: spooltest.Queue(s, "t", 0), Meta: spool.Meta{Events: 1, Replaces: source}, Batch: [][]byte{[]byte("placed")}}}
			if _, err := s.Append(w); err != nil {
				t.Fatal(err)
			}
			if err := unassigned.Done(source); err != nil {
				t.Fatal(err)
			}
		}
		return fs.Kill()
	}
	fs, other := spoolOf(false), spoolOf(true)
	for _, name := range other.Names() {
		if strings.Contains(name, "/00000002-") {
			fs.Edit(name, func([]byte) []byte { return slices.Clone(other.Bytes(name)) })
		}
	}
	for start := range 3 {
		s := openFS(t, fs)
		if waiting, placed := events(s, -1), events(s, 0); waiting != 1 || placed != 1 {
			t.Errorf("start %d: %d events wait for their partition, %d are placed", start, waiting, placed)
		}
		if kinds := kindsOf(t, fs); kinds[spool.KindVoid] != 0 {
			t.Errorf("start %d: an inspection finds %v", start, kinds)
		}
		fs = fs.Kill()
	}
}
