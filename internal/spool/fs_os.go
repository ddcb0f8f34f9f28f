package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// OS is the operating system's file system, by path. For a directory that it opens a Spool has one of its own, which
// resolves names from the directory (openDir).
type OS struct{}

// MkdirAll implements FS.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// Create implements FS.
func (o OS) Create(name string) (File, error) {
	return o.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open implements FS.
func (o OS) Open(name string, readOnly bool) (File, error) {
	if readOnly {
		return o.open(name, os.O_RDONLY)
	}
	return o.open(name, os.O_RDWR)
}

func (o OS) open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag|noFollow, 0o600)
	if isSpecial(err) {
		return nil, fmt.Errorf("%w: %w", errSpecial, err)
	}
	if err != nil {
		return nil, err
	}
	return newFile(f, false)
}

// newFile takes over an open file if it is a plain one.
func newFile(f *os.File, memory bool) (File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is %s", errSpecial, f.Name(), special(info.Mode(), ""))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{File: f, fd: int(f.Fd()), memory: memory}, nil
}

// errSpecial: there is something else where a plain file belongs.
var errSpecial = errors.New("no plain file")

// List implements FS.
func (OS) List(dir string) ([]FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		out = append(out, FileInfo{Name: e.Name(), Size: info.Size(), Disk: diskBytes(info), Special: special(info.Mode(), "")})
	}
	return out, nil
}

// special says what a file is that is no plain one; plain for one that is.
func special(mode fs.FileMode, plain string) string {
	switch {
	case mode.IsRegular():
		return plain
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a fifo"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// osFile is a file with its descriptor at hand: (*os.File).Fd changes the file's mode at each call.
type osFile struct {
	*os.File
	fd     int
	memory bool // there is no disk below
}

// Size implements File.
func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// writeEach writes bufs, which belong at off, except their first skip bytes.
func (f *osFile) writeEach(bufs [][]byte, skip int, off int64) error {
	for _, b := range bufs {
		if skip < len(b) {
			if _, err := f.WriteAt(b[skip:], off+int64(skip)); err != nil {
				return err
			}
		}
		skip = max(skip-len(b), 0)
		off += int64(len(b))
	}
	return nil
}
