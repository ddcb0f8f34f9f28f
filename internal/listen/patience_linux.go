package listen

import "golang.org/x/sys/unix"

// hangup waits, without reading, until the client has closed its sending side or the read deadline
// passes. It reports whether the client has.
func (c *conn) hangup() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		gone = err == nil && n > 0
		return gone || err != nil && err != unix.EINTR
	})
	return gone || err != nil && !isTimeout(err)
}
