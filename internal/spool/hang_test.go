package spool_test

import (
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestTheEndOfAFrameDoesNotWaitForAnotherCursor: while the disk hangs in the write of one queue's cursor, frames of it and of
// others end and are appended. What has ended meanwhile is written with the next cursor.
func TestTheEndOfAFrameDoesNotWaitForAnotherCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := spooltest.New(1 << 40)
		var hangs atomic.Bool
		free := make(chan struct{})
		fs.SetGate(func(op spooltest.Op, name string) error {
			if op == spooltest.OpWrite && filepath.Base(name) == "cursors" && hangs.Load() {
				<-free
			}
			return nil
		})
		cfg := spool.Config{Dir: "d", MaxBytes: 8 << 20}
		s, err := spool.Open(cfg, spool.Deps{FS: fs, Boot: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		var first [2]spool.Pos
		add := func(id int) spool.Pos {
			pos, err := spooltest.Queue(s, "t", int32(id)).Append(spool.Meta{Events: 1}, []byte("batch"))
			if err != nil {
				t.Error(err)
			}
			return pos
		}
		for id := range first {
			first[id] = add(id)
		}
		hangs.Store(true)
		noted, ended := make(chan error, 1), make(chan struct{})
		go func() { noted <- spooltest.Queue(s, "t", 0).Sending(first[0], spool.Stamp{ProducerID: 7}) }()
		synctest.Wait()
		go func() {
			defer close(ended)
			for id, pos := range first {
				if err := spooltest.Queue(s, "t", int32(id)).DoneSoon(pos); err != nil {
					t.Error(err)
				}
				add(id)
			}
		}()
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("they wait for the disk")
		}
		hangs.Store(false)
		close(free)
		<-ended
		if err := <-noted; err != nil {
			t.Error(err)
		}
		if err := s.WriteCursors(); err != nil {
			t.Error(err)
		}
		again, err := spool.Open(cfg, spool.Deps{FS: fs.Kill(), Boot: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		for id := range first {
			q := spooltest.Queue(again, "t", int32(id))
			if n, _, _ := q.Len(); n != 1 {
				t.Errorf("queue %d has %d frames after a kill, want 1", id, n)
			}
			if pos, _, ok := q.Doubt(); ok {
				t.Errorf("queue %d has frame %v in doubt, which is done", id, pos)
			}
		}
	})
}

// TestTheEndOfASegmentDoesNotWaitForItsRemoval: a disk that hangs when a file is removed or renamed holds up no frame that ends.
func TestTheEndOfASegmentDoesNotWaitForItsRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := spooltest.New(1 << 40)
		var hangs atomic.Bool
		free := make(chan struct{})
		fs.SetGate(func(op spooltest.Op, _ string) error {
			if (op == spooltest.OpRemove || op == spooltest.OpRename) && hangs.Load() {
				<-free
			}
			return nil
		})
		s, err := spool.Open(spool.Config{Dir: "d", MaxBytes: 1 << 20, SegmentBytes: 16 << 10}, spool.Deps{FS: fs, Boot: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		q := spooltest.Queue(s, "t", 0)
		var frames [4]spool.Pos
		for i := range frames {
			if frames[i], err = q.Append(spool.Meta{Events: 1}, make([]byte, 10<<10)); err != nil {
				t.Fatal(err)
			}
		}
		hangs.Store(true)
		ended := make(chan error, len(frames))
		go func() {
			for _, pos := range frames[:3] {
				ended <- q.DoneSoon(pos)
			}
		}()
		synctest.Wait()
		if len(ended) != 3 {
			t.Errorf("%d of 3 frames end while the disk hangs", len(ended))
		}
		hangs.Store(false)
		close(free)
		synctest.Wait()
		if err := s.WriteCursors(); err != nil {
			t.Error(err)
		}
		names, err := fs.List("d")
		if err != nil {
			t.Fatal(err)
		}
		left := slices.DeleteFunc(names, func(f spool.FileInfo) bool { return !strings.HasSuffix(f.Name, ".seg") })
		if len(left) != 1 {
			t.Errorf("%d segments are left, want the last one", len(left))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
