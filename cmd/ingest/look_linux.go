package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"functiongraph-ingest/internal/printable"
)

// writable asks whether a file can be written, or a file made in a directory, and leaves neither changed. The mode does
// not tell: root may write everywhere by it, but not below /proc or /sys.
func writable(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return err
	}
	fd, err := unix.Open(path, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600) // a file without a name
	if err == nil {
		return unix.Close(fd)
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return tryFile(path)
}

// tryFile makes a file in a directory whose file system has none without a name, such as NFS, and removes it.
func tryFile(dir string) error {
	f, err := os.CreateTemp(dir, ".ingest-check-")
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return fmt.Errorf("its file system takes no file: %w", path.Err)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// foreignOwner reports whether a directory, or the link that leads to it, belongs to another user than this one and
// root.
func foreignOwner(path string) (uid int, foreign bool) {
	for _, stat := range []func(string) (os.FileInfo, error){os.Lstat, os.Stat} {
		info, err := stat(path)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return int(st.Uid), true
		}
	}
	return 0, false
}

// lockHolder asks who has locked a file or folder; held is false when no process has, or there is none. It holds the lock itself,
// shared, for the moment of the question.
func lockHolder(path string) (pid string, held bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	defer f.Close() // and with it the lock
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return "", false
	}
	var text [32]byte
	n, _ := f.ReadAt(text[:], 0)
	if pid = printable.Text(strings.TrimSpace(string(text[:n]))); pid == "" {
		pid = "of unknown number"
	}
	return pid, true
}
