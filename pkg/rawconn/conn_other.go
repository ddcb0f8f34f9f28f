//go:build !linux || race

package rawconn

// Conn is a connection. One goroutine may read and one may write at the same time, not more; everything
// else is as in package net.
type Conn struct{ Stream }

// New takes over c. Its other owners may do with it what does not read or write, and close it.
func New(c Stream) *Conn { return &Conn{c} }
