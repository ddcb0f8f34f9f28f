package listen

import (
	"io"
	"syscall"
)

// canSleep: readable needs to look at a socket without reading from it.
const canSleep = true

// readable waits until there is a byte to read. It is false when there will be none.
func (c *conn) readable() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, err := syscall.Recvfrom(int(fd), c.one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			switch err {
			case syscall.EINTR:
			case syscall.EAGAIN:
				return false // wait for it
			default:
				if ok = err == nil && n > 0; !ok {
					c.readErr = io.EOF // or it is broken
				}
				return true
			}
		}
	})
	return ok && err == nil
}
