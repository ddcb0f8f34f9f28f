package spool

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// removed is an ErrRemoved if the directory at the path is not the open one; nil: it is, or that cannot be told.
func (d *ownDir) removed() error {
	same, err := d.atPath()
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
	case err != nil || same || d.unlike:
		return nil
	}
	err = lost(folderRemoved, d.dir)
	now, e := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", d.root.Fd()))
	if e == nil && now != d.dir && !strings.HasSuffix(now, " (deleted)") && strings.HasPrefix(d.dir, "/") {
		err = fmt.Errorf("%w (it is at %s now)", err, now)
	}
	return err
}

// atPath reports whether the path leads to the open directory.
func (d *ownDir) atPath() (same bool, err error) {
	var at, held unix.Stat_t
	if err := again(func() error { return unix.Stat(d.dir, &at) }); err != nil {
		return false, err
	}
	if err := again(func() error { return unix.Fstat(int(d.root.Fd()), &held) }); err != nil {
		return false, err
	}
	return at.Dev == held.Dev && at.Ino == held.Ino, nil
}

// has reports whether the file of that name in the directory is the open one, or that cannot be told. A file system in user
// space may number one file in two ways: another number counts only if the open file has no name left.
func (d *ownDir) has(name string, open io.Closer) bool {
	fd := descriptor(open)
	var at, held unix.Stat_t
	err := again(func() error { return unix.Fstatat(int(d.root.Fd()), name, &at, unix.AT_SYMLINK_NOFOLLOW) })
	if errors.Is(err, unix.ENOENT) {
		return false
	}
	if err != nil || again(func() error { return unix.Fstat(fd, &held) }) != nil {
		return true
	}
	return at.Dev == held.Dev && at.Ino == held.Ino || held.Nlink > 0
}

// reaches reports whether the spool's path leads to the open file of that name: then the directory is there too. Only a file
// that was moved into a new directory deceives it, which look notices. false: it does not, or that cannot be told.
func (d *ownDir) reaches(name string, open io.Closer) bool {
	var at, held unix.Stat_t
	path := d.dir + "/" + name
	return again(func() error { return unix.Lstat(path, &at) }) == nil &&
		again(func() error { return unix.Fstat(descriptor(open), &held) }) == nil && at.Dev == held.Dev && at.Ino == held.Ino
}

// named reports whether the open file has a name, or that cannot be told.
func (*ownDir) named(open io.Closer) bool {
	var held unix.Stat_t
	return again(func() error { return unix.Fstat(descriptor(open), &held) }) != nil || held.Nlink > 0
}

// descriptor is the number of an open file.
func descriptor(open io.Closer) int {
	switch f := open.(type) {
	case *osFile:
		return f.fd
	case *os.File:
		return int(f.Fd())
	}
	return -1
}

// own locks the directory itself, beside its lock file: a file can be removed, and another process would lock the next one.
// Where a file system has no lock for directories (NFS, some in user space) there is the file alone.
func (d *ownDir) own() error {
	err := again(func() error { return unix.Flock(int(d.root.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	f, err := d.openFile(d.dir+"/"+lockName, unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("%w: %s is locked", ErrBusy, d.dir)
	}
	defer f.Close()
	return busy(d.dir, f)
}

// busy is the ErrBusy about what is locked. f is the lock file.
func busy(what string, f *os.File) error {
	var owner [32]byte
	n, _ := f.ReadAt(owner[:], 0)
	return fmt.Errorf("%w: %s is held by process %q", ErrBusy, what, strings.TrimSpace(string(owner[:n])))
}

// reopen makes the directory at the path, if need be, and takes it in place of the open one, in which nothing is left. It
// must be one without a spool. The lock of its lock file is returned.
func (d *ownDir) reopen(log *slog.Logger) (io.Closer, error) {
	next, err := openDir(d.dir, log)
	if err != nil {
		return nil, err
	}
	defer next.Close()
	if next.memory != d.memory {
		return nil, errors.New("it is on a file system of another kind now: end this process and start it again")
	}
	if err := next.own(); err != nil {
		return nil, err
	}
	lock, err := next.Lock(d.dir + "/" + lockName)
	if err != nil {
		return nil, err
	}
	names, err := next.names("")
	if err == nil && slices.ContainsFunc(names, func(name string) bool { return name != lockName && isOwnName(name) }) {
		err = fmt.Errorf("%s holds another spool: end this process and start it again", d.dir)
	}
	if err == nil {
		// The descriptor keeps its number, so calls that are under way elsewhere see the one folder or the other.
		err = again(func() error { return unix.Dup3(int(next.root.Fd()), int(d.root.Fd()), unix.O_CLOEXEC) })
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}
