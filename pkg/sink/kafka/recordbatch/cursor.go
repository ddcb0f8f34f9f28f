package recordbatch

import "functiongraph-ingest/pkg/sink"

// cursor writes into a chunk list piece by piece. The chunks it comes to must exist.
type cursor struct {
	chunks []*chunk
	off    int // wire offset of the next byte
}

func (c *cursor) write(p []byte) {
	for len(p) > 0 {
		n := copy(c.chunks[c.off/ChunkSize][c.off%ChunkSize:], p)
		c.off += n
		p = p[n:]
	}
}

func (c *cursor) writeString(s string) {
	for len(s) > 0 {
		n := copy(c.chunks[c.off/ChunkSize][c.off%ChunkSize:], s)
		c.off += n
		s = s[n:]
	}
}

func (c *cursor) varint(v int64) {
	var b [10]byte
	c.write(b[:putVarint(b[:], 0, v)])
}

// record is putRecord across chunk borders.
func (c *cursor) record(body int, delta, offset int64, r *sink.Record, first *Encoded) {
	c.varint(int64(body))
	c.varint(0) // attributes: one zero byte, like the varint 0
	c.varint(delta)
	c.varint(offset)
	c.varint(keyLen(r.Key))
	c.write(r.Key)
	c.varint(int64(len(r.Value)))
	c.write(r.Value)
	if first != nil {
		c.varint(int64(first.Count + len(r.Headers)))
		c.write(first.Wire)
	} else {
		c.varint(int64(len(r.Headers)))
	}
	for i := range r.Headers {
		h := &r.Headers[i]
		c.varint(int64(len(h.Key)))
		c.writeString(h.Key)
		c.varint(int64(len(h.Value)))
		c.write(h.Value)
	}
}
