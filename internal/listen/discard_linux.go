package listen

import (
	"io"
	"os"
	"syscall"
)

// drop waits until something has arrived, and drops as much of it as has, at most limit bytes. MSG_TRUNC
// makes TCP drop the bytes in the kernel, without copying them anywhere (tcp(7)): scratch only tells how
// many, so all connections can share it. At the end of the stream it returns io.EOF.
func (c *conn) drop(limit int64) (dropped int64, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for dropped < limit {
			scratch := c.srv.scratch
			n, _, err := syscall.Recvfrom(int(fd), scratch[:min(int64(len(scratch)), limit-dropped)], syscall.MSG_TRUNC|syscall.MSG_DONTWAIT)
			switch {
			case err == syscall.EINTR:
			case err == syscall.EAGAIN:
				return dropped > 0 // or wait for more
			case err != nil:
				failed = os.NewSyscallError("recvfrom", err)
				return true
			case n == 0:
				failed = io.EOF
				return true
			default:
				dropped += int64(n)
				if n < len(scratch) {
					return true // there is no more yet: no call to learn that
				}
			}
		}
		return true
	})
	if dropped > 0 {
		return dropped, nil // the error comes again
	}
	if err == nil {
		err = failed
	}
	return 0, err
}
