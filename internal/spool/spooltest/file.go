package spooltest

import (
	"io"
	"slices"
	"syscall"
)

// file is an open file. Like a descriptor it goes on working when the file is renamed or removed.
type file struct {
	fs       *FS
	name     string
	node     *node
	readOnly bool
	closed   bool
}

// begin starts an operation and takes fs.mu.
func (f *file) begin(op Op) error {
	err := f.fs.begin(op, f.name)
	if f.closed {
		return syscall.EBADF
	}
	return err
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	err := f.begin(OpRead)
	defer f.fs.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteVec implements spool.File.
func (f *file) WriteVec(bufs [][]byte, off int64) error {
	data := slices.Concat(bufs...)
	err := f.begin(OpWrite)
	defer f.fs.mu.Unlock()
	switch {
	case f.closed || f.readOnly:
		return syscall.EBADF
	case err != nil:
		data = data[:len(data)/2]
	default:
		grow := max(off+int64(len(data))-int64(len(f.node.data)), 0)
		if over := f.fs.used() + grow - f.fs.budget; grow > 0 && over > 0 {
			data, err = data[:max(int64(len(data))-over, 0)], errFull
		}
	}
	if len(data) > 0 {
		f.node.data = resize(f.node.data, max(int64(len(f.node.data)), off+int64(len(data))))
		copy(f.node.data[off:], data)
		f.node.pending = append(f.node.pending, change{off, data})
	}
	return err
}

// Sync implements spool.File. When it fails, what was pending never becomes durable, though reads
// still show it: as Linux does it.
func (f *file) Sync() error {
	err := f.begin(OpSync)
	defer f.fs.mu.Unlock()
	if err != nil {
		f.node.pending = nil
		return err
	}
	for _, c := range f.node.pending {
		if c.data == nil {
			f.node.durable = resize(f.node.durable, c.off)
			continue
		}
		f.node.durable = resize(f.node.durable, max(int64(len(f.node.durable)), c.off+int64(len(c.data))))
		copy(f.node.durable[c.off:], c.data)
	}
	f.node.pending = nil
	return nil
}

// Truncate implements spool.File.
func (f *file) Truncate(size int64) error {
	err := f.begin(OpTruncate)
	defer f.fs.mu.Unlock()
	if err != nil {
		return err
	}
	f.node.data = resize(slices.Clone(f.node.data), size)
	f.node.pending = append(f.node.pending, change{off: size})
	return nil
}

// Size implements spool.File.
func (f *file) Size() (int64, error) {
	err := f.begin(OpSize)
	defer f.fs.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return int64(len(f.node.data)), nil
}

// PunchHole implements spool.File. The bytes become zero; the budget does not change.
func (f *file) PunchHole(off, n int64) error {
	err := f.begin(OpPunch)
	defer f.fs.mu.Unlock()
	if err != nil {
		return err
	}
	zeros := make([]byte, max(min(n, int64(len(f.node.data))-off), 0))
	copy(f.node.data[off:], zeros)
	if len(zeros) > 0 {
		f.node.pending = append(f.node.pending, change{off, zeros})
	}
	return nil
}

// Close implements io.Closer.
func (f *file) Close() error {
	err := f.begin(OpClose)
	defer f.fs.mu.Unlock()
	f.closed = true
	return err
}
