package listen

import (
	"io"

	"functiongraph-ingest/internal/body"

	"github.com/valyala/fasthttp"
)

// maxFloor is what a body of unknown length reserves before it is read; it grows by doubling.
const maxFloor = 64 << 10

// floorFor is the reservation a chunked body starts with: 64 KiB, but no more than the largest body
// needs, and at most a quarter of the budget, so that there is something to grow into.
func floorFor(maxBody, budget int64) int64 {
	f := body.Charge(min(maxFloor, maxBody))
	for f > budget/4 && f > body.Charge(1) {
		f /= 2
	}
	return f
}

// read reads the body that is admitted into a pooled buffer, which takes over the reservation. When
// that fails, everything is given back but the caller's place in s.admission. A nil body without a
// reason (reasons) was a chunked one without bytes.
func (s *Server) read(ctx *fasthttp.RequestCtx, c *conn) (*body.Body, reason) {
	stream := ctx.RequestBodyStream()
	n := ctx.Request.Header.ContentLength()
	if n == chunked {
		return s.readChunked(stream, c)
	}
	b := s.deps.Pool.Get(int64(n))
	b.Data = b.Buffer()[:n]
	if _, err := io.ReadFull(stream, b.Data); err != nil {
		s.drop(b)
		if c.readErr == nil {
			return nil, reasonClientGone
		}
		return nil, c.readFailure()
	}
	return b, reasons
}

// readChunked reads a body of unknown length. It never waits for room while it holds some.
func (s *Server) readChunked(stream io.Reader, c *conn) (*body.Body, reason) {
	b := s.deps.Pool.Get(s.floor)
	for n := 0; ; {
		buf := b.Buffer()
		buf = buf[:min(int64(len(buf)), s.cfg.MaxBodyBytes)]
		m, err := io.ReadFull(stream, buf[n:])
		n += m
		if err == nil { // full: does it go on?
			if _, err = io.ReadFull(stream, c.one[:]); err == nil {
				var r reason
				if b, r = s.grow(b, n); r != reasons {
					s.drop(b)
					return nil, r
				}
				b.Buffer()[n] = c.one[0]
				n++
				continue
			}
		}
		// io.ReadFull makes ErrUnexpectedEOF of an end within the buffer. A connection that broke
		// has left its mark in readErr.
		if c.readErr != nil || err != io.EOF && err != io.ErrUnexpectedEOF {
			s.drop(b)
			return nil, c.readFailure()
		}
		if n == 0 {
			s.drop(b)
			return nil, reasons
		}
		b.Data = b.Buffer()[:n]
		return b, reasons
	}
}

// grow moves the n bytes of a body to a buffer twice the size. For the time of the copy both are
// reserved. When it fails b is unchanged.
func (s *Server) grow(b *body.Body, n int) (*body.Body, reason) {
	had := b.Charge()
	_, budget := s.deps.Gate.Limits()
	switch {
	case int64(n) >= s.cfg.MaxBodyBytes, 3*had > budget:
		return b, reasonTooLarge
	case !s.deps.Gate.TryGrow(2 * had):
		return b, reasonNoRoomToGrow
	}
	bigger := s.deps.Pool.Get(2 * had)
	copy(bigger.Buffer(), b.Buffer()[:n])
	s.deps.Pool.Put(b)
	s.deps.Gate.Release(0, had)
	return bigger, reasons
}
