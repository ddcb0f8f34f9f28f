//go:build linux && !race

package spool

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// On a file system in memory a write only copies. The runtime need not be told of such calls: each one that it is
// told of wakes its monitor thread when the process was idle, and that costs more CPU than the copying (ADR 24 has
// the same for sockets). Writes over mostRaw bytes, which only a frame of more than that makes, stay ordinary. The
// monitor need not be woken from here: the sockets do that now and then.
const mostRaw = maxTogether + 64<<10 // with heads

// pwritev writes at most maxVec buffers.
func (f *osFile) pwritev(bufs [][]byte, off int64) (int, error) {
	if !f.raw(bufs) {
		return unix.Pwritev(f.fd, bufs, off)
	}
	var iov [maxVec]unix.Iovec
	n := 0
	for _, b := range bufs {
		if len(b) > 0 {
			iov[n].Base = &b[0]
			iov[n].SetLen(len(b))
			n++
		}
	}
	// The upper half of the offset is a word of its own where words have 32 bits, and not looked at elsewhere.
	wrote, _, errno := syscall.RawSyscall6(unix.SYS_PWRITEV, uintptr(f.fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(n),
		uintptr(off), uintptr(uint64(off)>>32), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(wrote), nil
}

func (f *osFile) raw(bufs [][]byte) bool {
	if !f.memory {
		return false
	}
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	return size <= mostRaw
}

// renameRaw is renameat.
func renameRaw(fromDir int, from string, toDir int, to string) error {
	old, err := unix.BytePtrFromString(from)
	if err != nil {
		return err
	}
	name, err := unix.BytePtrFromString(to)
	if err != nil {
		return err
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_RENAMEAT2, uintptr(fromDir), uintptr(unsafe.Pointer(old)), uintptr(toDir), uintptr(unsafe.Pointer(name)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
