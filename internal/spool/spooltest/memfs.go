// Package spooltest has file systems for tests of the spool: in memory, with a disk that can run full,
// fail at any operation, and lose power.
package spooltest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"functiongraph-ingest/internal/spool"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// FS is a file system in memory. It knows what of it is durable: [FS.Crash] makes the file system that a
// machine might find after it lost power.
type FS struct {
	mu     sync.Mutex
	names  map[string]*node // as processes see it
	disk   map[string]*node // entries of directories that were synced
	locks  map[string]bool
	budget int64 // bytes that files may take
	fault  func(op Op, name string) error
	gate   func(op Op, name string) error
	ops    int
}

// node is a file, whatever its name.
type node struct {
	data    []byte
	durable []byte
	pending []change // since durable
}

// change is one write or, without data, a truncation to off.
type change struct {
	off  int64
	data []byte
}

// Op is a kind of operation, for faults.
type Op string

// The operations that can fail.
const (
	OpMkdir, OpCreate, OpOpen, OpList, OpRemove, OpRename, OpSyncDir, OpFree, OpLock = Op("mkdir"), Op("create"), Op("open"), Op("list"), Op("remove"), Op("rename"), Op("syncdir"), Op("free"), Op("lock")
	OpRead, OpWrite, OpSync, OpTruncate, OpSize, OpPunch, OpClose                    = Op("read"), Op("write"), Op("sync"), Op("truncate"), Op("size"), Op("punch"), Op("close")
)

// New returns an empty file system with room for budget bytes.
func New(budget int64) *FS {
	return &FS{names: map[string]*node{}, disk: map[string]*node{}, locks: map[string]bool{}, budget: budget}
}

// SetFault sets who is asked before each operation; an error makes it fail. A write that fails leaves a
// part of it behind. nil ends the faults.
func (f *FS) SetFault(fault func(op Op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// SetGate sets who is asked before each operation as well, and may take its time: a disk that is slow or hangs. It must
// be set before the file system is used; an error makes the operation fail as one of SetFault does.
func (f *FS) SetGate(gate func(op Op, name string) error) { f.gate = gate }

// SetBudget changes the size of the disk.
func (f *FS) SetBudget(budget int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budget = budget
}

// Ops counts the operations so far.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// begin starts an operation: it waits at the gate, takes mu, counts, and asks for the operation's fault.
func (f *FS) begin(op Op, name string) error {
	var err error
	if f.gate != nil {
		err = f.gate(op, name)
	}
	f.mu.Lock()
	f.ops++
	if f.fault != nil && err == nil {
		err = f.fault(op, name)
	}
	return err
}

// Used is what all files take.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used()
}

func (f *FS) used() (n int64) {
	for _, x := range f.names {
		n += int64(len(x.data))
	}
	return n
}

// MkdirAll implements spool.FS.
func (f *FS) MkdirAll(dir string) error {
	err := f.begin(OpMkdir, dir)
	defer f.mu.Unlock()
	return err
}

// Create implements spool.FS.
func (f *FS) Create(name string) (spool.File, error) {
	err := f.begin(OpCreate, name)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if f.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	f.names[name] = &node{}
	return &file{fs: f, name: name, node: f.names[name]}, nil
}

// Open implements spool.FS.
func (f *FS) Open(name string, readOnly bool) (spool.File, error) {
	err := f.begin(OpOpen, name)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if f.names[name] == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{fs: f, name: name, node: f.names[name], readOnly: readOnly}, nil
}

// List implements spool.FS.
func (f *FS) List(dir string) ([]spool.FileInfo, error) {
	err := f.begin(OpList, dir)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var out []spool.FileInfo
	for name, x := range f.names {
		if filepath.Dir(name) == dir {
			out = append(out, spool.FileInfo{Name: filepath.Base(name), Size: int64(len(x.data)), Disk: int64(len(x.data))})
		}
	}
	slices.SortFunc(out, func(a, b spool.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Remove implements spool.FS.
func (f *FS) Remove(name string) error {
	err := f.begin(OpRemove, name)
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	if f.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(f.names, name)
	return nil
}

// Rename implements spool.FS.
func (f *FS) Rename(from, to string) error {
	err := f.begin(OpRename, from)
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	if f.names[from] == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	f.names[to] = f.names[from]
	delete(f.names, from)
	return nil
}

// SyncDir implements spool.FS.
func (f *FS) SyncDir(dir string) error {
	err := f.begin(OpSyncDir, dir)
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	for name := range f.disk {
		if filepath.Dir(name) == dir {
			delete(f.disk, name)
		}
	}
	for name, x := range f.names {
		if filepath.Dir(name) == dir {
			f.disk[name] = x
		}
	}
	return nil
}

// Free implements spool.FS.
func (f *FS) Free(dir string) (int64, error) {
	err := f.begin(OpFree, dir)
	defer f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return max(f.budget-f.used(), 0), nil
}

// Lock implements spool.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	err := f.begin(OpLock, name)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if f.locks[name] {
		return nil, fmt.Errorf("%w: %s", spool.ErrBusy, name)
	}
	f.locks[name] = true
	return &lock{f, name}, nil
}

type lock struct {
	fs   *FS
	name string
}

func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locks, l.name)
	return nil
}

// Names lists all files.
func (f *FS) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for name := range f.names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Bytes returns the contents of a file, nil when there is none. They must not be changed.
func (f *FS) Bytes(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.names[name]; x != nil {
		return x.data
	}
	return nil
}

// Edit replaces the contents of a file by what edit makes of a copy of them; it makes the file if need be.
func (f *FS) Edit(name string, edit func([]byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var old []byte
	if x := f.names[name]; x != nil {
		old = slices.Clone(x.data)
	}
	data := edit(old)
	f.names[name] = &node{data: data, durable: slices.Clone(data)}
	f.disk[name] = f.names[name]
}

// Kill returns what a new process finds after kill -9: everything that was written, and no locks. What was not durable still
// is not.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := New(f.budget)
	copies := map[*node]*node{}
	for _, m := range []struct{ from, to map[string]*node }{{f.names, out.names}, {f.disk, out.disk}} {
		for name, x := range m.from {
			if copies[x] == nil {
				copies[x] = &node{data: slices.Clone(x.data), durable: slices.Clone(x.durable), pending: slices.Clone(x.pending)}
			}
			m.to[name] = copies[x]
		}
	}
	return out
}

// Crash returns what a machine may find after it lost power: what was synced is there; of the rest each
// sector, each length and each entry of a directory may be the old one or the new one.
func (f *FS) Crash(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := New(f.budget)
	all := map[string]bool{}
	for name := range f.names {
		all[name] = true
	}
	for name := range f.disk {
		all[name] = true
	}
	sorted := make([]string, 0, len(all))
	for name := range all {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		x := f.disk[name]
		if f.names[name] != x && rng.IntN(2) == 0 {
			x = f.names[name]
		}
		if x == nil {
			continue
		}
		data := x.crash(rng)
		out.names[name] = &node{data: data, durable: slices.Clone(data)}
		out.disk[name] = out.names[name]
	}
	return out
}

// crash plays the pending changes on what is durable, each sector with a chance that is the file's own,
// so that nothing, nearly nothing, nearly everything and everything are all likely.
func (x *node) crash(rng *rand.Rand) []byte {
	data := slices.Clone(x.durable)
	chance := []float64{0, 0.1, 0.5, 0.9, 1}[rng.IntN(5)]
	for _, c := range x.pending {
		if c.data == nil {
			if rng.Float64() < chance {
				data = resize(data, c.off)
			}
			continue
		}
		for at := 0; at < len(c.data); {
			end := min(len(c.data), int((c.off+int64(at))/sector+1)*sector-int(c.off))
			if rng.Float64() < chance {
				data = resize(data, max(int64(len(data)), c.off+int64(end)))
				copy(data[c.off+int64(at):], c.data[at:end])
			}
			at = end
		}
	}
	return data
}

func resize(p []byte, n int64) []byte {
	if int64(len(p)) >= n {
		return p[:n]
	}
	return append(p, make([]byte, n-int64(len(p)))...)
}

// errFull is what a write gets for which there is no room.
var errFull = &fs.PathError{Op: "write", Path: "mem", Err: syscall.ENOSPC}

// IsFull tells the error of a disk without room.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }

// Flip changes one byte of a file under those who have it open: a disk that forgets.
func (f *FS) Flip(name string, at int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[name].data[at] ^= 0x10
}
