package listen

import "syscall"

// discard drops what arrives until at least limit bytes were dropped, the client closed, or the read
// deadline passed. It reports whether limit was reached.
//
// MSG_TRUNC makes TCP drop the bytes in the kernel, without copying them anywhere (tcp(7)): scratch
// only tells how many, so all connections can share it.
func (c *conn) discard(limit int64) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Read(func(fd uintptr) bool {
		for limit > 0 {
			n, _, err := syscall.Recvfrom(int(fd), c.srv.scratch, syscall.MSG_TRUNC|syscall.MSG_DONTWAIT)
			switch {
			case err == syscall.EINTR:
			case err == syscall.EAGAIN:
				return false // wait for more
			case err != nil || n <= 0:
				return true
			default:
				limit -= int64(n)
			}
		}
		return true
	})
	return limit <= 0
}
