package listen

import (
	"bytes"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/pkg/ring"

	"github.com/valyala/fasthttp"
)

// Lengths of a request body that are not lengths, as fasthttp tells them.
const (
	chunked  = -1
	noLength = -2
)

// verdict is what admit says about a delivery.
type verdict uint8

const (
	refused verdict = iota // and answered
	empty                  // nothing to take: 200
	admitted
)

// delivery takes one delivery: reserve, read, push, answer. unread says that the body, or a part of
// it, is still on the wire.
func (s *Server) delivery(ctx *fasthttp.RequestCtx, c *conn) (unread bool) {
	if c.reserved == 0 { // else the ExpectHandler admitted it
		n := noLength
		if ctx.Request.IsBodyStream() { // fasthttp makes 0 of a missing length, but no stream
			n = ctx.Request.Header.ContentLength()
		}
		switch s.admit(ctx, c, n) {
		case refused:
			return true
		case empty:
			s.count.empty.Add(1)
			return false
		}
	}
	b, r := s.read(ctx, c)
	if c.codings.n > 0 && b != nil {
		if b, r = s.inflate(c, b, c.codings); r != reasons {
			s.admission.leave()
			s.refuse(ctx, r)
			return false // all of it was read
		}
	}
	if r != reasons {
		s.admission.leave()
		s.refuse(ctx, r)
		ctx.SetConnectionClose() // where the next request begins is not known
		return true
	}
	if b == nil {
		s.admission.leave()
		s.count.empty.Add(1)
		return false
	}
	s.push(ctx, c, b)
	return false
}

// admit decides about a delivery whose header has been read, from its announced length. After
// admitted the caller holds a reservation of c.reserved bytes in the room and one of s.admission.
func (s *Server) admit(ctx *fasthttp.RequestCtx, c *conn, n int) verdict {
	r := reasons
	known := true
	if c.codings = (encodings{}); !c.head.plain() {
		c.codings, known = encodingsOf(&ctx.Request.Header)
	}
	switch {
	case !known:
		r = reasonEncoding
	case n == noLength:
		r = reasonLengthRequired
	case int64(n) > s.cfg.MaxBodyBytes:
		r = reasonTooLarge
	case n == 0:
		return empty
	case !s.admission.enter():
		r = reasonShutdown
	default:
		c.ndjson = ndjson(ctx.Request.Header.ContentType())
		s.slim(ctx, c)
		charge := s.deps.Room.First(int64(n), c.arrived(n))
		err := s.reserve(c, charge)
		if err == nil {
			c.reserved = charge
			return admitted
		}
		s.admission.leave()
		r = roomReason(err)
	}
	s.refuse(ctx, r)
	return refused
}

// reserve takes bytes for a body, and waits for them if it must.
func (s *Server) reserve(c *conn, bytes int64) error {
	err := s.deps.Room.Reserve(s.ctx, bytes, 0)
	if err != ring.ErrFull || s.cfg.AdmitWait <= 0 {
		return err
	}
	c.enter(queued, never)
	err = s.deps.Room.Reserve(s.ctx, bytes, s.pace.wait(s.cfg.AdmitWait))
	c.enter(reading, s.limits.read) // the wait was ours: the client gets its whole time
	return err
}

// roomReason is the refusal for an error of the room.
func roomReason(err error) reason {
	switch err {
	case ring.ErrFull:
		return reasonFull
	case ring.ErrTooLarge:
		return reasonTooLarge
	default: // closed, or the context of Drain or Abort
		return reasonShutdown
	}
}

// push hands the body on to the decoder, and answers.
func (s *Server) push(ctx *fasthttp.RequestCtx, c *conn, b *body.Body) {
	b.NDJSON = c.ndjson
	if s.deps.Now != nil {
		b.AdmittedAt = s.deps.Now().UnixMilli()
	} else {
		b.AdmittedAt = ctx.Time().UnixMilli()
	}
	b.ID = s.firstID.Load() + s.count.bodies.Add(1)
	size := int64(len(b.Data)) // after the push b is not ours
	s.count.bytes.Add(size)
	var d *body.Delivery
	if s.cfg.WaitForAck {
		if d = c.delivery; d == nil {
			d = body.NewDelivery()
			c.delivery = d
		}
		b.Delivery = d
	}
	if err := s.deps.Ring.TryPush(b); err != nil { // closed: the reservation is a place in the ring, so it is never full
		s.count.late.Add(1)
		s.count.bytes.Add(-size)
		s.deps.Room.Release(b)
		s.admission.leave()
		s.refuse(ctx, reasonShutdown)
		return
	}
	s.admission.leave()
	// From here on b belongs to the decoder.
	if d != nil {
		s.await(ctx, c, d)
	}
}

// ndjson reports whether a media type, parameters aside, is application/x-ndjson.
func ndjson(contentType []byte) bool {
	const name = "application/x-ndjson"
	if len(contentType) < len(name) || !bytes.EqualFold(contentType[:len(name)], []byte(name)) {
		return false
	}
	rest := contentType[len(name):]
	return len(rest) == 0 || rest[0] == ';' || rest[0] == ' ' || rest[0] == '\t'
}
