//go:build !linux

package spool

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

const noFollow = 0

func isSpecial(error) bool { return false }

// ownDir is the file system of an open spool directory. Owners and links are looked at on Linux only.
type ownDir struct {
	OS
	memory bool
}

func openDir(dir string, _ *slog.Logger) (*ownDir, error) { return &ownDir{}, os.MkdirAll(dir, 0o700) }

// Occupied is nil: nothing is closed to others here.
func Occupied(string) error { return nil }

// What is removed by others is noticed on Linux only.
func (*ownDir) own() error                                   { return nil }
func (*ownDir) removed() error                               { return nil }
func (*ownDir) has(string, io.Closer) bool                   { return true }
func (*ownDir) reaches(string, io.Closer) bool               { return true }
func (*ownDir) named(io.Closer) bool                         { return true }
func (*ownDir) reopen(*slog.Logger) (c io.Closer, err error) { return nil, errors.ErrUnsupported }

// Close lets the directory go.
func (*ownDir) Close() error { return nil }

// WriteVec implements File.
func (f *osFile) WriteVec(bufs [][]byte, off int64) error { return f.writeEach(bufs, 0, off) }

// PunchHole implements File.
func (f *osFile) PunchHole(off, n int64) error { return errors.ErrUnsupported }

// Free implements FS: not known here, so only Config.MaxBytes bounds the spool.
func (OS) Free(dir string) (int64, error) { return 1 << 62, nil }

// Lock implements FS. Where there is no flock nothing ends the lock with the process, so it is none: two
// processes with one directory are a mistake that only Linux finds.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: lock: %w", err)
	}
	return f, nil
}

// InMemory is not known here.
func InMemory(string) string { return "" }

func diskBytes(info os.FileInfo) int64 { return info.Size() }

// bootID is not known here: a kill and a loss of power look the same.
func bootID() string { return "unknown" }
