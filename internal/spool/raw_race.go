//go:build linux && race

package spool

import (
	"golang.org/x/sys/unix"
)

// The race detector must see the calls.

func (f *osFile) pwritev(bufs [][]byte, off int64) (int, error) { return unix.Pwritev(f.fd, bufs, off) }

func renameRaw(fromDir int, from string, toDir int, to string) error {
	return unix.Renameat(fromDir, from, toDir, to)
}
