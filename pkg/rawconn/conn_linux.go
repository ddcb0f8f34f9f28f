//go:build linux && !race

package rawconn

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// Conn is a connection. One goroutine may read and one may write at the same time, not more; everything
// else is as in package net.
type Conn struct {
	Stream
	raw     syscall.RawConn // nil: the connection was closed before it got here
	in, out transfer
	look    Look // for the goroutine that reads
}

// New takes over c. Its other owners may do with it what does not read or write, and close it.
func New(c Stream) *Conn {
	r := &Conn{Stream: c}
	r.raw, _ = c.SyscallConn()
	r.in.step, r.out.step = r.in.read, r.out.write
	return r
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	t := &c.in
	if t.ordinary(c.raw, p) {
		return c.Stream.Read(p)
	}
	t.rest, t.done, t.errno = p[:min(len(p), most)], 0, 0
	err := c.raw.Read(t.step)
	t.rest = nil
	if err == nil && t.errno == 0 && t.done == 0 {
		return 0, io.EOF
	}
	return t.done, c.failure("read", err, t.errno)
}

// Queued is the number of bytes that have arrived and were not read: a hint, 0 where it is not known. The goroutine
// that reads may call it; others have a [Look].
func (c *Conn) Queued() int { return c.look.Queued(c) }

// Look asks connections that others read for the number of bytes that are queued. Its zero value is ready. One
// goroutine may use it at a time. It holds the answer of SIOCINQ, tcp(7); its ask is made once, so that a call
// allocates nothing.
type Look struct {
	ask   func(fd uintptr)
	bytes int32 // C's int
}

// Queued is as [Conn.Queued].
func (q *Look) Queued(c *Conn) int {
	if c.raw == nil {
		return 0
	}
	if q.ask == nil {
		q.ask = q.siocinq
	}
	if c.raw.Control(q.ask) != nil {
		return 0
	}
	return int(q.bytes)
}

func (q *Look) siocinq(fd uintptr) {
	q.bytes = 0
	_, _, _ = syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&q.bytes)))
}

// Write implements net.Conn: it returns when all of p was written, or with an error.
func (c *Conn) Write(p []byte) (int, error) {
	t := &c.out
	if t.ordinary(c.raw, p) {
		return c.Stream.Write(p)
	}
	t.rest, t.done, t.errno = p, 0, 0
	err := c.raw.Write(t.step)
	t.rest = nil
	return t.done, c.failure("write", err, t.errno)
}

// failure is the error that package net would return.
func (c *Conn) failure(op string, err error, errno syscall.Errno) error {
	switch {
	case errno != 0:
		err = os.NewSyscallError(op, errno)
	case err == nil:
		return nil
	default:
		if wrapped, ok := err.(*net.OpError); ok {
			err = wrapped.Err // its operation is "raw-read" or "raw-write"
		}
	}
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// transfer is one direction of a connection. Its step is made once, so that a call allocates nothing.
type transfer struct {
	step  func(fd uintptr) bool // false: wait until the socket is ready
	rest  []byte                // of the caller's, during a call
	done  int                   // bytes
	errno syscall.Errno
	calls uint
}

// ordinary reports whether this call is better made by package net.
func (t *transfer) ordinary(raw syscall.RawConn, p []byte) bool {
	t.calls++
	return raw == nil || len(p) == 0 || t.calls%nth == 0
}

func (t *transfer) read(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&t.rest[0])), uintptr(len(t.rest)))
		switch errno {
		case 0:
			t.done = int(n)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
}

func (t *transfer) write(fd uintptr) bool {
	for len(t.rest) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&t.rest[0])), uintptr(min(len(t.rest), most)))
		switch errno {
		case 0:
			t.done += int(n)
			t.rest = t.rest[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
	return true
}
