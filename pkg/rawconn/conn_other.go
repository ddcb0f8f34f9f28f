//go:build !linux || race

package rawconn

import "net"

// Conn is a TCP connection. One goroutine may read and one may write at the same time, not more; everything
// else is as in [net.TCPConn].
type Conn struct{ *net.TCPConn }

// New takes over c. Its other owners may do with it what does not read or write, and close it.
func New(c *net.TCPConn) *Conn { return &Conn{c} }
