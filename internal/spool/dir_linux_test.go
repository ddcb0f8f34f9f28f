package spool

import (
	"math"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Network file systems, and those in user space, let a signal interrupt any call, and the runtime sends its threads many.
func TestACallThatASignalInterruptsIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	root, err := openRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &ownDir{dir: dir, root: root}
	defer d.Close()
	calls := 0
	err = d.at("openat", filepath.Join(dir, "a"), func(int, string) error {
		if calls++; calls < 3 {
			return unix.EINTR
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// SMB has no fsync of folders: its server keeps the names. /proc answers the same way.
func TestAFileSystemWithoutSyncOfFolders(t *testing.T) {
	const dir = "/proc/self"
	root, err := openRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &ownDir{dir: dir, root: root}
	defer d.Close()
	if err := d.SyncDir(dir); err != nil {
		t.Error(err)
	}
}

// A file system in user space counts its blocks in fragments, and may have no bound.
func TestFreeBytes(t *testing.T) {
	for _, c := range []struct {
		st   unix.Statfs_t
		want int64
	}{
		{unix.Statfs_t{Bavail: 10, Bsize: 1 << 20, Frsize: 4096}, 40960},
		{unix.Statfs_t{Bavail: 10, Bsize: 4096}, 40960},
		{unix.Statfs_t{Bavail: math.MaxUint64, Bsize: 4096, Frsize: 4096}, math.MaxInt64},
	} {
		if got := freeBytes(&c.st); got != c.want {
			t.Errorf("%d blocks of %d, %d: %d bytes", c.st.Bavail, c.st.Frsize, c.st.Bsize, got)
		}
	}
}
