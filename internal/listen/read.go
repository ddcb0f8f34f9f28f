package listen

import (
	"io"
	"time"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/pkg/ring"

	"github.com/valyala/fasthttp"
)

// longestGrowth bounds the wait of a body for its growth where no timeout is set.
const longestGrowth = time.Hour

// patience is how long a body may wait for its growth of which arrived bytes of total came in took. A client that
// pours has the same patience as before its first byte. A slow one must not be told in the middle of its upload to
// begin again: it waits as long as it takes itself, twice. Its body is in the kernels' buffers meanwhile.
func (s *Server) patience(took time.Duration, arrived, total int64) time.Duration {
	if total == body.Unknown {
		total = s.cfg.MaxBodyBytes
	}
	longest := s.cfg.ReadTimeout
	if longest <= 0 {
		longest = longestGrowth
	}
	own := 2 * took.Seconds() * float64(total) / float64(max(1, arrived))
	return max(s.pace.wait(s.cfg.AdmitWait), time.Duration(min(own, longest.Seconds())*float64(time.Second)))
}

// read reads the body that is admitted into a pooled buffer, which takes over the reservation. When
// that fails, everything is given back except the caller's place in s.admission. A nil body without a
// reason (reasons) was a chunked one without bytes.
func (s *Server) read(ctx *fasthttp.RequestCtx, c *conn) (*body.Body, reason) {
	b := s.deps.Room.Lend(c.reserved)
	c.reserved = 0
	c.slow.Store(false)
	c.meter.begin()
	var n int
	var r reason
	if total := ctx.Request.Header.ContentLength(); total == chunked {
		b, n, r = s.readChunked(ctx, c, b)
	} else {
		b, n, r = s.readLength(ctx, c, b, total)
	}
	c.meter.end()
	if r != reasons || n == 0 {
		s.deps.Room.Release(b)
		return nil, r
	}
	b.Data = b.Buffer()[:n]
	return b, reasons
}

// readLength reads a body of total bytes.
func (s *Server) readLength(ctx *fasthttp.RequestCtx, c *conn, b *body.Body, total int) (_ *body.Body, n int, r reason) {
	stream := ctx.RequestBodyStream()
	for {
		buf := b.Buffer()
		m, err := io.ReadFull(stream, buf[n:min(total, len(buf))])
		n += m
		switch {
		case err != nil && c.readErr == nil:
			return b, n, reasonClientGone
		case err != nil:
			return b, n, c.readFailure()
		case n == total:
			return b, n, reasons
		}
		if b, r = s.grow(ctx, c, b, n, int64(total)); r != reasons {
			return b, n, r
		}
	}
}

// readChunked reads a body of unknown length.
func (s *Server) readChunked(ctx *fasthttp.RequestCtx, c *conn, b *body.Body) (_ *body.Body, n int, r reason) {
	stream := ctx.RequestBodyStream()
	for {
		buf := b.Buffer()
		buf = buf[:min(int64(len(buf)), s.cfg.MaxBodyBytes)]
		m, err := io.ReadFull(stream, buf[n:])
		n += m
		if err == nil { // full: does it go on?
			if _, err = io.ReadFull(stream, c.one[:]); err == nil {
				if int64(n) >= s.cfg.MaxBodyBytes {
					return b, n, reasonTooLarge
				}
				if b, r = s.grow(ctx, c, b, n, body.Unknown); r != reasons {
					return b, n, r
				}
				b.Buffer()[n] = c.one[0]
				n++
				continue
			}
		}
		// io.ReadFull makes ErrUnexpectedEOF of an end within the buffer. A connection that broke
		// has left its mark in readErr.
		if c.readErr != nil || err != io.EOF && err != io.ErrUnexpectedEOF {
			return b, n, c.readFailure()
		}
		return b, n, reasons
	}
}

// grow gives a body of which n bytes have come, as many as its buffer holds, a larger one, and waits for that if
// it must.
func (s *Server) grow(ctx *fasthttp.RequestCtx, c *conn, b *body.Body, n int, total int64) (*body.Body, reason) {
	bigger, err := s.deps.Room.Grow(s.hard, b, total, 0)
	if err == ring.ErrFull {
		wait := s.patience(time.Since(ctx.Time()), int64(n+c.Queued()), total)
		c.enter(queued, never)
		bigger, err = s.deps.Room.Grow(s.hard, b, total, wait)
		c.enter(reading, s.limits.read) // the wait was ours
		c.forgive()
	}
	if err != nil {
		return bigger, roomReason(err)
	}
	return bigger, reasons
}
