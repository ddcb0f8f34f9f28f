//go:build linux

package load

import (
	"context"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// nullAnswer is all that a null server says.
const nullAnswer = "HTTP/1.1 200 OK\r\nServer: null\r\nDate: Mon, 02 Mar 2026 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"

// ServeNull reads requests that have a Content-Length and answers each with an empty 200, until ctx ends. It
// does nothing else, from an event loop like the generator's: what a generator reaches against it is the
// generator's own limit. It takes l over.
func ServeNull(ctx context.Context, l *net.TCPListener) error {
	file, err := l.File()
	if err != nil {
		return err
	}
	_ = l.Close()
	defer func() { _ = file.Close() }()
	p, err := newPoller()
	if err != nil {
		return err
	}
	defer p.close()
	fd := int(file.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("setnonblock", err)
	}
	if err := p.add(fd, fd, 0); err != nil {
		return err
	}
	s := &nullServer{poll: p, listener: fd, conns: map[int]*nullConn{}, scratch: make([]byte, 256<<10)}
	defer s.close()
	for ctx.Err() == nil {
		for _, e := range p.wait(tick) {
			if int(e.Fd) == fd {
				s.accept()
			} else if c := s.conns[int(e.Fd)]; c != nil && !s.serve(int(e.Fd), c) {
				_ = unix.Close(int(e.Fd))
				delete(s.conns, int(e.Fd))
			}
		}
	}
	return nil
}

type nullServer struct {
	poll     *poller
	listener int
	conns    map[int]*nullConn
	scratch  []byte
}

// nullConn is one connection: left bytes of a body are still to come, or the head begins with part.
type nullConn struct {
	left int
	part []byte
}

func (s *nullServer) close() {
	for fd := range s.conns {
		_ = unix.Close(fd)
	}
}

func (s *nullServer) accept() {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		s.conns[fd] = &nullConn{}
		if s.poll.add(fd, fd, 0) != nil {
			delete(s.conns, fd)
			_ = unix.Close(fd)
		}
	}
}

// serve reads what is there. It returns false when the connection is over.
func (s *nullServer) serve(fd int, c *nullConn) bool {
	for {
		n, err := readSome(fd, s.scratch)
		if err == errAgain {
			return true
		}
		if err != nil || n == 0 {
			return false
		}
		for b := s.scratch[:n]; len(b) > 0; {
			taken, whole, ok := c.take(b)
			if !ok {
				return false
			}
			b = b[taken:]
			if whole {
				if _, err := writeSome(fd, []byte(nullAnswer)); err != nil {
					return false
				}
			}
		}
		if n < len(s.scratch) {
			return true
		}
	}
}

// take consumes bytes of one request; whole says that they were its last.
func (c *nullConn) take(b []byte) (taken int, whole, ok bool) {
	if c.left > 0 {
		taken = min(c.left, len(b))
		c.left -= taken
		return taken, c.left == 0, true
	}
	had := len(c.part)
	head := b
	if had > 0 {
		c.part = append(c.part, b...)
		head = c.part
	}
	end, length, ok := requestHead(head)
	if !ok {
		return 0, false, false
	}
	if end == 0 { // more of the head is to come
		if had == 0 {
			c.part = append(c.part, b...)
		}
		return len(b), false, len(c.part) < responseBuffer
	}
	c.part = c.part[:0]
	c.left = length
	return end - had, length == 0, true
}
