//go:build unix

package listen

import "syscall"

// limitReceiveBuffer bounds what the kernel takes from a client before its body is admitted. Connections
// inherit it from the listener.
//
// Left to itself Linux grows a receive buffer up to tcp_rmem's maximum, often more than a whole body: a
// thousand clients then put gigabytes into the instance's memory (socket buffers count against its
// cgroup), and every refused body costs the copy of all its bytes. Bounded, a client stops after the
// first part, sees the 503 and keeps the rest.
func limitReceiveBuffer(_, _ string, c syscall.RawConn) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
	})
	if ctlErr != nil {
		return ctlErr
	}
	return err
}
