package spool_test

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// slowSync is a file system whose fdatasync waits for release.
type slowSync struct {
	*spooltest.FS
	syncs   atomic.Int64
	release chan struct{}
}

func (f *slowSync) Create(name string) (spool.File, error) {
	file, err := f.FS.Create(name)
	return &slowFile{file, f}, err
}

type slowFile struct {
	spool.File
	fs *slowSync
}

func (f *slowFile) Sync() error {
	f.fs.syncs.Add(1)
	<-f.fs.release
	return f.File.Sync()
}

// TestGroupCommit: while one fdatasync runs, any number of callers gather for the next one, and appends,
// reads and cursors go on.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &slowSync{FS: spooltest.New(1 << 30), release: make(chan struct{}, 10)}
		fs.release <- struct{}{} // the cursor file's mark
		s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		q := spooltest.Queue(s, "t", 0)
		fs.syncs.Store(0)
		var returned atomic.Int64
		commit := func(n int) {
			for range n {
				pos, err := q.Append(spool.Meta{}, []byte("batch"))
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					if err := s.Sync(pos, pos); err != nil {
						t.Error(err)
					}
					returned.Add(1)
				}()
			}
			synctest.Wait()
		}
		commit(1)
		if fs.syncs.Load() != 1 || returned.Load() != 0 {
			t.Fatalf("%d syncs, %d returned", fs.syncs.Load(), returned.Load())
		}
		commit(100)
		if fs.syncs.Load() != 1 || returned.Load() != 0 {
			t.Fatalf("%d syncs, %d returned", fs.syncs.Load(), returned.Load())
		}
		if f, pos, err := q.Peek(nil); err != nil || string(f.Batch) != "batch" || q.Sending(pos, spool.Stamp{}) != nil {
			t.Fatal("the queue waits for the disk")
		}
		fs.release <- struct{}{}
		synctest.Wait()
		if fs.syncs.Load() != 2 || returned.Load() != 1 {
			t.Fatalf("%d syncs, %d returned", fs.syncs.Load(), returned.Load())
		}
		commit(10)
		fs.release <- struct{}{}
		synctest.Wait()
		if fs.syncs.Load() != 3 || returned.Load() != 101 {
			t.Fatalf("%d syncs, %d returned", fs.syncs.Load(), returned.Load())
		}
		close(fs.release)
		synctest.Wait()
		if returned.Load() != 111 || s.Stats().Syncs != 3 {
			t.Fatalf("%d returned, %d rounds", returned.Load(), s.Stats().Syncs)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestConcurrent: many owners of queues and committers at once, for the race detector; each reads back
// what it wrote, in order.
func TestConcurrent(t *testing.T) {
	s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 1 << 20}, spool.Deps{FS: spooltest.New(1 << 30)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 8)
	for owner := range cap(done) {
		go func() { done <- own(s, spooltest.Queue(s, "t", int32(owner)), uint64(owner)<<32) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if st := s.Stats(); st.Frames != 0 || st.Events != 0 || st.Quarantined != 0 {
		t.Errorf("%+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSyncErrorOfReusedFile: an fdatasync that fails when its segment is done already, and the file another one's,
// tells of that one's frames.
func TestSyncErrorOfReusedFile(t *testing.T) {
	t.Run("control", func(t *testing.T) { syncReused(t, false) })
	t.Run("fails", func(t *testing.T) { syncReused(t, true) })
}

func syncReused(t *testing.T, fails bool) {
	synctest.Test(t, func(t *testing.T) {
		fs := &slowSync{FS: spooltest.New(1 << 30), release: make(chan struct{}, 100)}
		fs.release <- struct{}{} // the cursor file's mark
		s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 4096, MaxBytes: 1 << 20}, spool.Deps{FS: fs, Boot: "b"})
		if err != nil {
			t.Fatal(err)
		}
		q := spooltest.Queue(s, "t", 0)
		add := func() spool.Pos {
			pos, err := q.Append(spool.Meta{Events: 1}, make([]byte, 1200))
			if err != nil {
				t.Fatal(err)
			}
			return pos
		}
		var last spool.Pos
		for range 3 {
			last = add()
		}
		first := make(chan error, 1)
		go func() { first <- s.Sync(last, last) }()
		synctest.Wait() // fdatasync of segment 1 is under way
		p := add()      // segment 2
		if p.Segment() != 2 {
			t.Fatal(p)
		}
		if err := q.Done(last); err != nil { // segment 1's file is the spare one
			t.Fatal(err)
		}
		for p.Segment() == 2 {
			p = add()
		}
		// The disk fails while that fdatasync works: the kernel tells this call, once.
		fs.SetFault(func(op spooltest.Op, name string) error {
			if fails && op == spooltest.OpSync && strings.HasSuffix(filepath.Base(name), ".seg") {
				return spool.ErrWrite
			}
			return nil
		})
		fs.release <- struct{}{}
		<-first // all of its frames are done: whatever it says
		fs.SetFault(nil)
		for range 50 {
			fs.release <- struct{}{}
		}
		err = s.Sync(p, p)
		if fails != (err != nil) {
			t.Errorf("Sync of the frames behind: %v", err)
		}
		for seed := range uint64(20) {
			s2, e := spool.Open(spool.Config{Dir: dir, SegmentBytes: 4096, MaxBytes: 1 << 20}, spool.Deps{FS: fs.FS.Crash(rand.New(rand.NewPCG(seed, 1))), Boot: "c"})
			if e != nil {
				t.Fatal(e)
			}
			if f, at, e := spooltest.Queue(s2, "t", 0).PeekAfter(p-1, nil); err == nil && (e != nil || at != p) {
				t.Errorf("Sync of %v said nil, and after a loss of power it is not there: %v %v %v", p, f.Meta, at, e)
				break
			}
		}
	})
}
