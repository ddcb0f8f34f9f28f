package main

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"functiongraph-ingest/internal/printable"
)

// writable asks whether a file can be written, or something made in a directory, without doing so.
func writable(path string) error {
	mode := uint32(unix.W_OK)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		mode |= unix.X_OK
	}
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
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

// lockHolder asks who has locked a file; held is false when no process has, or there is none. It holds the lock itself,
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
