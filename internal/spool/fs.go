package spool

import (
	"io"
	"slices"
)

// FS is what the spool needs of a file system. [OS] is the real one; spooltest has one in memory that
// fails, runs full and crashes. Names are paths; all methods are safe for concurrent use.
type FS interface {
	// MkdirAll makes a directory and its parents; one that exists is no error.
	MkdirAll(dir string) error
	// Create makes a file that must not exist, for reading and writing.
	Create(name string) (File, error)
	// Open opens an existing file, for reading and writing unless readOnly.
	Open(name string, readOnly bool) (File, error)
	// List returns the entries of dir by name; none when dir does not exist.
	List(dir string) ([]FileInfo, error)
	Remove(name string) error
	Rename(from, to string) error
	// SyncDir makes creations, removals and renames in dir durable.
	SyncDir(dir string) error
	// Free is the number of bytes that an unprivileged user may still write below dir.
	Free(dir string) (int64, error)
	// Lock takes an exclusive lock on a file, which it creates; it ends with Close or the process.
	// The error is ErrBusy when another process holds it.
	Lock(name string) (io.Closer, error)
}

// FileInfo is one entry of a directory.
type FileInfo struct {
	Name string
	Size int64
	// Disk is how many bytes it takes on the disk: less than Size where it has holes.
	Disk int64
	// Special says what an entry is that is no plain file: "a directory", "a symbolic link"; "": it is one.
	Special string
}

// plain are the plain files of a list.
func plain(list []FileInfo) []FileInfo {
	return slices.DeleteFunc(list, func(f FileInfo) bool { return f.Special != "" })
}

// File is an open file. Its methods are safe for concurrent use.
type File interface {
	io.ReaderAt
	io.Closer
	// WriteVec writes all of bufs, one after the other, at off. It does not retain or change them.
	WriteVec(bufs [][]byte, off int64) error
	// Sync makes what was written before it durable, with the length (fdatasync).
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	// PunchHole gives the blocks within [off, off+n) back to the file system; they read as zeros.
	// An error means that nothing was given back.
	PunchHole(off, n int64) error
}
