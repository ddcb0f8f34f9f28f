package spool_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestProgressIsReadBesideADiskThatHangs: what a partition asks about its queue is answered while a write of the cursors
// does not come back.
func TestProgressIsReadBesideADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := spooltest.New(1 << 30)
		s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		q := spooltest.Queue(s, "t", 0)
		pos, err := q.Append(spool.Meta{Events: 1}, []byte("batch"))
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		fs.SetGate(func(op spooltest.Op, name string) error {
			if op == spooltest.OpWrite && filepath.Base(name) == "cursors" {
				<-release
			}
			return nil
		})
		go func() {
			if err := q.Sending(pos, spool.Stamp{ProducerID: 7}); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		// A bubble in which everything waits is a deadlock, which fails the test.
		if _, st, ok := q.Doubt(); !ok || st.ProducerID != 7 {
			t.Errorf("in doubt: %v %v", st, ok)
		}
		if _, ok := q.Suspect(); ok {
			t.Error("suspect")
		}
		close(release)
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestDurableEndsOutliveTheMachine: after DoneDurably a frame that is done does not come back, and what replaces it does,
// wherever the power fails.
func TestDurableEndsOutliveTheMachine(t *testing.T) {
	cameBack := 0
	for _, synced := range []bool{false, true} {
		for seed := range uint64(60) {
			fs := spooltest.New(1 << 30)
			s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{FS: fs, Boot: "1"})
			if err != nil {
				t.Fatal(err)
			}
			unassigned := spooltest.Queue(s, "t", -1)
			source, err := unassigned.Append(spool.Meta{Events: 1}, []byte("waits for its partition"))
			if err != nil {
				t.Fatal(err)
			}
			w := []spool.Write{{Queue: spooltest.Queue(s, "t", 0), Meta: spool.Meta{Events: 1, Replaces: source}, Batch: [][]byte{[]byte("placed")}}}
			if _, err := s.Append(w); err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(w[0].Pos, w[0].Pos); err != nil {
				t.Fatal(err)
			}
			if synced {
				err = s.DoneDurably(unassigned, source)
			} else {
				err = unassigned.Done(source)
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err = spool.Open(spool.Config{Dir: dir}, spool.Deps{FS: fs.Crash(rand.New(rand.NewPCG(seed, 1))), Boot: "2"})
			if err != nil {
				t.Fatal(err)
			}
			back, placed := events(s, -1), events(s, 0)
			if back+placed != 1 {
				t.Errorf("seed %d: %d events wait for their partition, %d are placed", seed, back, placed)
			}
			if synced && back != 0 {
				t.Errorf("seed %d: the frame is back", seed)
			}
			cameBack += int(back)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if cameBack == 0 {
		t.Error("no frame comes back after Done: the test shows nothing")
	}
}

// TestFilesGoWhenTheirEndIsDurable: no file goes of frames that DoneDurably ends, and that a loss of power could bring back in part,
// whatever else ends meanwhile, or if the disk does not confirm it. They go when it does.
func TestFilesGoWhenTheirEndIsDurable(t *testing.T) {
	for _, fails := range []bool{false, true} {
		fs := spooltest.New(1 << 30)
		s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 16 << 10, MaxBytes: 1 << 20}, spool.Deps{FS: fs, Boot: "1"})
		if err != nil {
			t.Fatal(err)
		}
		q, other := spooltest.Queue(s, "t", -1), spooltest.Queue(s, "other", 0)
		put := func(q *spool.Queue, n int) spool.Pos {
			pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, n))
			if err != nil {
				t.Fatal(err)
			}
			return pos
		}
		put(q, 10<<10)
		last := put(q, 10<<10)
		beside := put(other, 4<<10)
		put(other, 10<<10)
		if last.Segment() != beside.Segment() {
			t.Fatal("they are in two segments")
		}
		durable, gone, meanwhile := false, 0, false
		fs.SetGate(func(op spooltest.Op, name string) error {
			switch {
			case op == spooltest.OpSync && filepath.Base(name) == "cursors":
				if !meanwhile {
					meanwhile = true // a frame in one of these segments is acknowledged, and an event needs their room
					if err := errors.Join(other.DoneSoon(beside), s.SetAside([]byte("event"), [32]byte{1})); err != nil {
						t.Error(err)
					}
					if fails {
						return syscall.EIO
					}
				}
				durable = true
			case filepath.Ext(name) == ".seg" && (op == spooltest.OpRemove || op == spooltest.OpRename):
				if gone++; !durable {
					t.Errorf("%s goes before its end is durable", name)
				}
			}
			return nil
		})
		if err := s.DoneDurably(q, last); (err != nil) != fails || fails && gone != 0 {
			t.Errorf("fails %v: %v, %d files are gone", fails, err, gone)
		}
		if err := s.WriteCursors(); err != nil || gone != 2 {
			t.Errorf("fails %v: %v, %d files are gone in the end, want 2", fails, err, gone)
		}
	}
}
