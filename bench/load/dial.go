//go:build linux

package load

import (
	"os"

	"golang.org/x/sys/unix"
)

// connect returns true when there is a connection. Otherwise one comes, or a pause and another attempt.
func (c *conn) connect() bool {
	l := c.loop
	fd, err := unix.Socket(l.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.unreachable(os.NewSyscallError("socket", err))
		return false
	}
	c.fd, c.readable, c.hungUp = fd, false, false
	c.generation++
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	err = unix.Connect(fd, l.addr)
	if err == nil || err == unix.EINPROGRESS {
		if errPoll := l.poll.add(fd, c.index, c.generation); errPoll != nil {
			err = errPoll
		}
	}
	switch err {
	case nil:
		return true
	case unix.EINPROGRESS:
		c.state = connecting
		return false
	}
	c.unreachable(os.NewSyscallError("connect", err))
	return false
}

// connected is called when an attempt to connect has ended.
func (c *conn) connected() {
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = os.NewSyscallError("connect", unix.Errno(errno))
	}
	c.state = idle
	switch {
	case err != nil:
		c.unreachable(err)
	case c.payload != nil:
		c.send()
	}
}

func (c *conn) unreachable(err error) {
	c.disconnect()
	c.state = idle
	s := c.loop.stat()
	s.Refused++
	s.LastError = err
	if c.payload != nil {
		c.pause(c.loop.now + reconnectPause)
	}
}

func (c *conn) disconnect() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd) // epoll forgets it
		c.fd = -1
		c.generation++
	}
}
