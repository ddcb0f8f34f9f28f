package listen

import (
	"bytes"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/internal/inflate"
	"functiongraph-ingest/pkg/ring"

	"github.com/valyala/fasthttp"
)

// maxEncodings is how many content codings may lie inside one another.
const maxEncodings = 2

// encodings are the codings of a body in the order in which they are undone.
type encodings struct {
	undo [maxEncodings]inflate.Encoding
	n    int
}

// encodingsOf reads Content-Encoding; ok is false for a coding that is not known. The first of several fields may
// be empty, and nil to fasthttp as one that is not there: all are looked at.
func encodingsOf(h *fasthttp.RequestHeader) (e encodings, ok bool) {
	for _, field := range h.PeekAll(fasthttp.HeaderContentEncoding) {
		for name := range bytes.SplitSeq(field, []byte(",")) { // 4,000 commas cost nothing
			name = bytes.TrimSpace(name)
			if len(name) == 0 || bytes.EqualFold(name, []byte("identity")) {
				continue
			}
			coding, known := inflate.Parse(name)
			if !known || e.n == maxEncodings {
				return e, false
			}
			copy(e.undo[1:], e.undo[:e.n]) // the last that was applied is the first to be undone
			e.undo[0] = coding
			e.n++
		}
	}
	return e, true
}

// inflate replaces a body by what it is without its codings. It takes room as bytes come out, and waits for the first of
// it only, because it holds the compressed body, and then one of the few places to decompress. When it fails, b is given
// back.
func (s *Server) inflate(c *conn, b *body.Body, e encodings) (*body.Body, reason) {
	for _, coding := range e.undo[:e.n] {
		second, err := s.deps.Room.Second(s.hard, b, 0)
		if err == ring.ErrFull {
			c.enter(queued, never)
			second, err = s.deps.Room.Second(s.hard, b, s.pace.wait(s.cfg.AdmitWait))
			c.enter(reading, s.limits.read) // the wait was ours
			c.forgive()
		}
		if err != nil {
			s.deps.Room.Release(b)
			return nil, roomReason(err)
		}
		out := &inflating{s: s, b: second}
		n, err := s.inflater.Do(coding, b.Data, out.buffer(), out)
		s.deps.Room.Release(b)
		b = out.b
		switch {
		case err == nil && int64(n) > s.cfg.MaxBodyBytes:
			err = inflate.ErrTooLarge
		case err == nil && n == 0:
			s.deps.Room.Release(b)
			return nil, reasons
		}
		if err != nil {
			s.deps.Room.Release(b)
			switch err {
			case inflate.ErrCorrupt:
				return nil, reasonCorrupt
			case inflate.ErrTooLarge:
				return nil, reasonTooLarge
			}
			return nil, roomReason(err)
		}
		b.Data = b.Buffer()[:n]
	}
	return b, reasons
}

// inflating is the body that comes out.
type inflating struct {
	s *Server
	b *body.Body
}

func (i *inflating) buffer() []byte { return i.b.Buffer() }

// Grow implements inflate.Grower.
func (i *inflating) Grow(int) ([]byte, error) {
	bigger, err := i.s.deps.Room.Grow(i.s.hard, i.b, body.Unknown, 0)
	i.b = bigger
	return i.buffer(), err
}
