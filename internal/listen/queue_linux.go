package listen

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// queuedAt reports whether a connection waits to be accepted.
func queuedAt(ln net.Listener) (waits bool) {
	l, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		waits = err == nil && n > 0
	})
	return waits
}
