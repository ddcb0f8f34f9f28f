//go:build !linux

package listen

// discard drops what arrives until at least limit bytes were dropped, the client closed, or the read
// deadline passed. It reports whether limit was reached.
func (c *conn) discard(limit int64) bool {
	scratch := make([]byte, 4<<10)
	for limit > 0 {
		n, err := c.Conn.Read(scratch)
		if limit -= int64(n); err != nil {
			break
		}
	}
	return limit <= 0
}
