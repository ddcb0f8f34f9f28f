//go:build !linux

package rawconn

// Queued is the number of bytes that have arrived and were not read: a hint, 0 where it is not known.
func (*Conn) Queued() int { return 0 }
