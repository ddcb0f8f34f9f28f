package spool_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// kept is an open spool with a clock that stands still.
type kept struct {
	t   *testing.T
	dir string
	now time.Time
	s   *spool.Spool
	q   *spool.Queue
	pos spool.Pos // of the newest frame
}

// onFolder runs a test with a spool in a folder of its own, on a disk and in memory.
func onFolder(t *testing.T, test func(k *kept)) {
	onDisks(t, func(t *testing.T, dir string) {
		k := &kept{t: t, dir: filepath.Join(dir, "spool"), now: time.Now()}
		k.open()
		defer func() { _ = k.s.Close() }()
		test(k)
	})
}

func (k *kept) open() {
	k.t.Helper()
	s, err := spool.Open(spool.Config{Dir: k.dir}, spool.Deps{Now: func() time.Time { return k.now }, Boot: "boot"})
	must(k.t, err)
	k.s, k.q = s, spooltest.Queue(s, "t", 0)
}

// write writes a frame of ten events and makes it durable.
func (k *kept) write() error {
	pos, err := k.q.Append(spool.Meta{Events: 10}, batchOf(1))
	if err != nil {
		return err
	}
	k.pos = pos
	return k.s.Sync(pos, pos)
}

// later lets the clock pass every pause of the spool.
func (k *kept) later() { k.now = k.now.Add(2 * time.Minute) }

// soon lets the clock go on until the next round of syncs follows the path: what was moved still has a name.
func (k *kept) soon() { k.now = k.now.Add(20 * time.Millisecond) }

// again ends the spool and opens what is at its path, and returns the events that are lost and those that are there.
func (k *kept) again() (lost, found int64) {
	k.t.Helper()
	err := k.s.Close()
	if lost = k.s.Counts().Lost; lost > 0 && !errors.Is(err, spool.ErrRemoved) {
		k.t.Errorf("Close: %v", err)
	}
	k.open()
	return lost, k.s.Stats().RecoveredEvents
}

func (k *kept) glob(pattern string) []string {
	names, err := filepath.Glob(filepath.Join(k.dir, pattern))
	must(k.t, err)
	return names
}

// ways are ways in which others take away what the spool has written.
var ways = map[string]func(k *kept){
	"folder": func(k *kept) { must(k.t, os.RemoveAll(k.dir)) },
	"moved": func(k *kept) {
		must(k.t, errors.Join(os.Rename(k.dir, k.dir+".old"), os.Mkdir(k.dir, 0o700)))
		k.soon()
	},
	"segments": func(k *kept) {
		for _, name := range k.glob("*.seg") {
			must(k.t, os.Remove(name))
		}
	},
	"everything in it": func(k *kept) {
		for _, name := range k.glob("*") {
			must(k.t, os.Remove(name))
		}
	},
	"segments moved": func(k *kept) {
		must(k.t, os.Mkdir(k.dir+".old", 0o700))
		for _, name := range k.glob("*.seg") {
			must(k.t, os.Rename(name, filepath.Join(k.dir+".old", filepath.Base(name))))
		}
		k.soon()
	},
}

// What others remove is not durable, and at the end no frame counts as kept that no other process finds.
func TestFramesInRemovedFilesAreNotDurableAndCountAsLost(t *testing.T) {
	for name, remove := range ways {
		t.Run(name, func(t *testing.T) {
			onFolder(t, func(k *kept) {
				must(k.t, k.write())
				remove(k)
				if err := k.write(); !errors.Is(err, spool.ErrNotDurable) {
					k.t.Errorf("a frame that no other process finds is durable: %v", err)
				}
				durable := int64(0)
				for range 3 {
					k.later()
					if k.write() == nil {
						durable += 10
					}
				}
				_, events, _ := k.q.Len()
				if f, _, err := k.q.Peek(nil); err != nil || string(f.Batch) != string(batchOf(1)) {
					k.t.Errorf("what is open is read no more: %v", err)
				}
				lost, found := k.again()
				if lost != events-durable || found != durable || lost < 20 {
					k.t.Errorf("%d events, of them durable %d, lost %d, found %d", events, durable, lost, found)
				}
				must(k.t, k.write())
			})
		})
	}
}

// Where only segments are gone the next one begins in the same folder.
func TestRemovedSegmentsDoNotKeepLaterFramesFromTheDisk(t *testing.T) {
	for _, name := range []string{"segments", "segments moved", "everything in it"} {
		t.Run(name, func(t *testing.T) {
			onFolder(t, func(k *kept) {
				must(k.t, k.write())
				ways[name](k)
				k.later()
				must(k.t, k.write())
				if lost, found := k.again(); lost != 10 || found != 10 {
					k.t.Errorf("lost %d, found %d", lost, found)
				}
			})
		})
	}
}

// While frames are left in a folder that is gone it is a disk that fails. Then it is made anew.
func TestARemovedFolderIsMadeAnewWhenItsFramesAreDone(t *testing.T) {
	for _, name := range []string{"folder", "moved"} {
		t.Run(name, func(t *testing.T) {
			onFolder(t, func(k *kept) {
				must(k.t, k.write())
				ways[name](k)
				k.later()
				if err := k.write(); !errors.Is(err, spool.ErrWrite) || !errors.Is(err, spool.ErrRemoved) {
					k.t.Errorf("Append: %v", err)
				}
				var sum [32]byte
				if err := k.s.SetAside([]byte("{}"), sum); !errors.Is(err, spool.ErrRemoved) {
					k.t.Errorf("SetAside: %v", err)
				}
				k.later()
				if err := k.s.Room(1); !errors.Is(err, spool.ErrRemoved) {
					k.t.Errorf("Room: %v", err)
				}
				must(k.t, k.q.Done(k.pos))
				k.later()
				must(k.t, k.write())
				must(k.t, k.s.SetAside([]byte("{}"), sum))
				must(k.t, os.Remove(k.glob("setaside/*")[0]))
				must(k.t, k.s.SetAside([]byte("{}"), sum)) // it is there afterwards, whoever took it away
				if lost, found := k.again(); lost != 0 || found != 10 {
					k.t.Errorf("lost %d, found %d", lost, found)
				}
				if st := k.s.Stats(); st.UncleanStart || st.LostCursors != 0 || st.SetAside != 1 {
					k.t.Errorf("%+v", st)
				}
			})
		})
	}
}

// An idle process does not mind: nothing was in the folder.
func TestAFolderThatIsRemovedWhileEmptyIsMadeAnew(t *testing.T) {
	for _, name := range []string{"folder", "moved", "everything in it"} {
		for _, used := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				onFolder(t, func(k *kept) {
					if used {
						must(k.t, k.write())
						must(k.t, k.q.Done(k.pos))
					}
					ways[name](k)
					k.later()
					must(k.t, k.write())
					if _, err := spool.Open(spool.Config{Dir: k.dir}, spool.Deps{}); !errors.Is(err, spool.ErrBusy) {
						k.t.Errorf("another process got in: %v", err)
					}
					if lost, found := k.again(); lost != 0 || found != 10 {
						k.t.Errorf("lost %d, found %d", lost, found)
					}
				})
			})
		}
	}
}

// A folder that comes back is used again.
func TestAFolderThatIsMovedBackIsUsedAgain(t *testing.T) {
	onFolder(t, func(k *kept) {
		must(k.t, k.write())
		must(k.t, os.Rename(k.dir, k.dir+".old"))
		k.later()
		if err := k.write(); !errors.Is(err, spool.ErrRemoved) {
			k.t.Errorf("Append: %v", err)
		}
		must(k.t, os.Rename(k.dir+".old", k.dir))
		k.later()
		must(k.t, k.write())
		if lost, found := k.again(); lost != 0 || found != 20 {
			k.t.Errorf("lost %d, found %d", lost, found)
		}
	})
}

// Another spool in place of the folder is not written to.
func TestAnotherSpoolInPlaceOfTheFolderIsLeftAlone(t *testing.T) {
	onFolder(t, func(k *kept) {
		must(k.t, k.write())
		must(k.t, k.q.Done(k.pos))
		must(k.t, os.Rename(k.dir, k.dir+".old"))
		other, err := spool.Open(spool.Config{Dir: k.dir}, spool.Deps{})
		must(k.t, err)
		q := spooltest.Queue(other, "t", 0)
		_, err = q.Append(spool.Meta{Events: 7}, batchOf(2))
		must(k.t, err)
		k.later()
		if err := k.write(); !errors.Is(err, spool.ErrRemoved) || !errors.Is(err, spool.ErrBusy) {
			k.t.Errorf("while another process has it: %v", err)
		}
		must(k.t, other.Close())
		k.later()
		if err := k.write(); !errors.Is(err, spool.ErrRemoved) {
			k.t.Errorf("with events of another process in it: %v", err)
		}
		if lost, found := k.again(); lost != 0 || found != 7 {
			k.t.Errorf("lost %d, found %d", lost, found)
		}
	})
}

// Without its cursors a spool would send again what is done.
func TestARemovedCursorFileIsMadeAgain(t *testing.T) {
	for _, inTime := range []bool{true, false} { // false: only Close sees it
		onFolder(t, func(k *kept) {
			must(k.t, k.write())
			must(k.t, k.q.Done(k.pos))
			must(k.t, k.write())
			must(k.t, k.q.Sending(k.pos, stampOf(k.pos)))
			must(k.t, os.Remove(filepath.Join(k.dir, "cursors")))
			if inTime {
				k.later()
			}
			must(k.t, k.write())
			lost, found := k.again()
			doubt, stamp, ok := k.q.Doubt()
			if st := k.s.Stats(); lost != 0 || found != 20 || st.UncleanStart || st.LostCursors != 0 || !ok || stamp != stampOf(doubt) {
				k.t.Errorf("lost %d, found %d, in doubt %v %+v, %+v", lost, found, doubt, stamp, st)
			}
		})
	}
}

// Two processes in one folder would send every event twice.
func TestARemovedLockFileLetsNoOtherProcessIn(t *testing.T) {
	onFolder(t, func(k *kept) {
		lock := filepath.Join(k.dir, "lock")
		must(k.t, k.write())
		must(k.t, os.Remove(lock))
		if _, err := spool.Open(spool.Config{Dir: k.dir}, spool.Deps{}); !errors.Is(err, spool.ErrBusy) {
			k.t.Fatalf("another process got in: %v", err)
		}
		// Versions before this one lock nothing but the file.
		old := lockFile(k.t, lock)
		k.later()
		if err := k.write(); !errors.Is(err, spool.ErrWrite) || !errors.Is(err, spool.ErrBusy) {
			k.t.Errorf("while an older version has the folder: %v", err)
		}
		must(k.t, old.Close())
		k.later()
		must(k.t, k.write())
		if f, err := os.OpenFile(lock, os.O_RDWR, 0); err != nil || unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != unix.EWOULDBLOCK {
			k.t.Errorf("an older version gets in: %v", err)
		} else {
			must(k.t, f.Close())
		}
		if lost, found := k.again(); lost != 0 || found != 20 {
			k.t.Errorf("lost %d, found %d", lost, found)
		}
		must(k.t, k.s.Close())
		old = lockFile(k.t, lock)
		if _, err := spool.Open(spool.Config{Dir: k.dir}, spool.Deps{}); !errors.Is(err, spool.ErrBusy) {
			k.t.Errorf("beside an older version: %v", err)
		}
		must(k.t, old.Close())
	})
}

func lockFile(t *testing.T, name string) io.Closer {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	return f
}

// What has ended since a folder was moved away does not come back from there.
func TestNothingComesBackFromAMovedFolder(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "spool"), time.Now()
	s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 16 << 10, MaxBytes: 1 << 20}, spool.Deps{Now: func() time.Time { return now }, Boot: "b"})
	must(t, err)
	var frames [2]spool.Pos
	for id := range frames {
		q := spooltest.Queue(s, "t", int32(id))
		frames[id], err = q.Append(spool.Meta{Events: 5}, make([]byte, 10<<10))
		must(t, err)
		must(t, q.Sending(frames[id], spool.Stamp{ProducerID: 1}))
	}
	must(t, os.Rename(dir, dir+".old"))
	for id, pos := range frames {
		must(t, spooltest.Queue(s, "t", int32(id)).DoneSoon(pos))
	}
	now = now.Add(2 * time.Minute)
	_, err = spooltest.Queue(s, "t", 0).Append(spool.Meta{Events: 1}, make([]byte, 1<<10)) // it makes the folder anew
	must(t, err)
	must(t, s.Close())
	old, err := spool.Open(spool.Config{Dir: dir + ".old"}, spool.Deps{Boot: "b"})
	must(t, err)
	if n := old.Stats().RecoveredEvents; n != 0 {
		t.Errorf("%d events come back that are done", n)
	}
	must(t, old.Close())
}
