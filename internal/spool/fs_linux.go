package spool

import (
	"cmp"
	"errors"
	"io"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxVec is how many buffers one pwritev gets: eight go without an allocation.
const maxVec = 64

// WriteVec implements File.
func (f *osFile) WriteVec(bufs [][]byte, off int64) error {
	for len(bufs) > 0 {
		group := bufs[:min(maxVec, len(bufs))]
		n, err := f.pwritev(group, off)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		}
		// It was short if the disk is nearly full or a signal came: the rest tells which.
		if err := f.writeEach(group, n, off); err != nil {
			return err
		}
		for _, b := range group {
			off += int64(len(b))
		}
		bufs = bufs[len(group):]
	}
	return nil
}

// Sync implements File.
func (f *osFile) Sync() error {
	if f.memory {
		return nil // nothing outlives the machine, and all outlives the process
	}
	if err := again(func() error { return unix.Fdatasync(f.fd) }); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// PunchHole implements File.
func (f *osFile) PunchHole(off, n int64) error {
	return again(func() error {
		return unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// Free implements FS.
func (OS) Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return freeBytes(&st), nil
}

// freeBytes is what may still be written. Blocks are counted in fragments: the block size is that of the best transfer, and
// much larger on some file systems in user space. Some of those without a bound have more than a number can say.
func freeBytes(st *unix.Statfs_t) int64 {
	hi, lo := bits.Mul64(st.Bavail, uint64(cmp.Or(st.Frsize, st.Bsize)))
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo)
}

// Lock implements FS: only an open directory is locked, see ownDir.
func (OS) Lock(string) (io.Closer, error) { return nil, errors.ErrUnsupported }

// inMemory reports whether an open file is in a file system without a disk below it.
func inMemory(fd int) bool {
	var st unix.Statfs_t
	return again(func() error { return unix.Fstatfs(fd, &st) }) == nil && memoryName(&st) != ""
}

// InMemory names the file system in memory, tmpfs or ramfs, in which a directory is or would be made; "": it is
// none, or not known.
func InMemory(dir string) string {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err == nil {
			return memoryName(&st)
		} else if at == filepath.Dir(at) {
			return ""
		}
	}
}

func memoryName(st *unix.Statfs_t) string {
	switch uint32(st.Type) {
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.RAMFS_MAGIC:
		return "ramfs"
	}
	return ""
}

// diskBytes is what a file takes on the disk.
func diskBytes(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return min(st.Blocks*512, info.Size())
	}
	return info.Size()
}

// bootID identifies the run of the machine.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
}
