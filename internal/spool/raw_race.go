//go:build linux && race

package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

// The race detector must see the calls.

func (f *osFile) pwritev(bufs [][]byte, off int64) (int, error) { return unix.Pwritev(f.fd, bufs, off) }

func renameRaw(from, to string) error { return os.Rename(from, to) }
