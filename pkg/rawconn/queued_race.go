//go:build linux && race

package rawconn

import "golang.org/x/sys/unix"

// Queued is the number of bytes that have arrived and were not read: a hint, 0 where it is not known.
func (c *Conn) Queued() (n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	return n
}
