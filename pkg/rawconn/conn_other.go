//go:build !linux || race

package rawconn

// Conn is a connection. One goroutine may read and one may write at the same time, not more; everything
// else is as in package net.
type Conn struct{ Stream }

// New takes over c. Its other owners may do with it what does not read or write, and close it.
func New(c Stream) *Conn { return &Conn{c} }

// Look asks connections that others read for the number of bytes that are queued. Its zero value is ready. One
// goroutine may use it at a time.
type Look struct{}

// Queued is as [Conn.Queued].
func (*Look) Queued(c *Conn) int { return c.Queued() }
