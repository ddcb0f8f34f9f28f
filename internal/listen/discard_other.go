//go:build !linux

package listen

// drop waits until something has arrived, and drops it, at most limit bytes.
func (c *conn) drop(limit int64) (int64, error) {
	n, err := c.Conn.Read(make([]byte, min(limit, 4<<10)))
	return int64(n), err
}
