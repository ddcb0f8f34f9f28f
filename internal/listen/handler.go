package listen

import (
	"bytes"
	"io"
	"time"

	"github.com/valyala/fasthttp"
)

// An invocation event has about 150 bytes and comes at once.
const (
	maxInvocation  = 4 << 10         // how much of one is read
	invocationTime = 2 * time.Second // how long one is waited for, if --read-timeout is not shorter
)

// target is what a path stands for.
type target uint8

const (
	nowhere target = iota
	telemetry
	invocation
)

func (s *Server) target(path []byte) target {
	switch string(path) { // does not allocate
	case s.cfg.TelemetryPath:
		return telemetry
	case "/extension/invoke", "/extension/register": // the reference prints both
		if s.deps.OnInvoke != nil {
			return invocation
		}
	case "/v1/events":
		if s.cfg.Events {
			return telemetry
		}
	}
	return nowhere
}

// handle answers one request. fasthttp calls it when the header has been read.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c := ctx.Conn().(*conn) //nolint:forcetypeassert // accept.go makes no others
	unread := false
	s.begin(ctx, c, ctx.Time())
	t, r := telemetry, reasons
	if c.reserved == 0 { // else the ExpectHandler has judged it
		t, r = s.judge(ctx, c)
	}
	switch {
	case !c.framed(ctx):
		s.refuse(ctx, c.readFailure())
		ctx.SetConnectionClose()
		unread = true
	case r != reasons && (s.health(ctx) || t == telemetry && s.guard.preflight(ctx)):
		unread = ctx.Request.IsBodyStream()
	case r != reasons:
		s.refuse(ctx, r)
		unread = ctx.Request.IsBodyStream()
	case t == invocation:
		unread = s.invocation(ctx, c)
	default:
		unread = s.delivery(ctx, c)
		if s.deps.OnAnswer != nil {
			s.deps.OnAnswer(time.Since(ctx.Time()))
		}
	}
	if s.cfg.KeepUsed && !c.kept.Load() && !ctx.Response.ConnectionClose() && ctx.Response.StatusCode() == fasthttp.StatusOK {
		c.kept.Store(true)
	}
	if c.head.pipelined() {
		// fasthttp would keep the answer until it has one to the next request, which may wait for its body or its ack.
		_ = ctx.SetWriteDeadline(past())
	}
	last := s.admission.closed() || c.fate.Load() != stays || c.expires != 0 && s.conns.now.Load() >= c.expires || ctx.Response.ConnectionClose() || ctx.Request.Header.ConnectionClose()
	if unread && !last {
		last = !c.skip(ctx.RequestBodyStream(), ctx.Request.Header.ContentLength())
	}
	if last {
		ctx.SetConnectionClose()
		c.unread = unread
	}
	s.slim(ctx, c)
	c.enter(writing, s.limits.read)
}

// broken answers a request whose header, or whose first byte of a body, could not be read. fasthttp
// closes the connection afterwards.
func (s *Server) broken(ctx *fasthttp.RequestCtx, err error) {
	c := ctx.Conn().(*conn) //nolint:forcetypeassert // accept.go makes no others
	r := c.readFailure()
	if _, ok := err.(*fasthttp.ErrSmallBuffer); ok {
		r = reasonHeaderTooLarge
	}
	s.begin(ctx, c, time.Now())
	s.refuse(ctx, r)
	c.unread = true
	c.enter(writing, s.limits.read)
}

// invocation hands an invocation event on. It is acknowledged whatever it contains: the platform
// waits for the 200, and the user's function with it.
func (s *Server) invocation(ctx *fasthttp.RequestCtx, c *conn) (unread bool) {
	s.count.events.Add(1)
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return false
	}
	n, err := 0, io.ErrNoProgress
	// Its bytes count as those of a body. It is never refused: without room it is acknowledged unread.
	if s.deps.Room.Reserve(s.ctx, maxInvocation, 0) == nil {
		b := s.deps.Room.Lend(maxInvocation)
		s.slim(ctx, c)
		c.enter(reading, s.limits.invocation)
		c.meter.begin()
		n, err = io.ReadFull(stream, b.Buffer()[:maxInvocation])
		if err == nil { // it goes on, or is just as long
			if _, err = io.ReadFull(stream, c.one[:]); err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
		}
		c.meter.end()
		event := b.Buffer()[:n]
		s.deps.OnInvoke(event)
		// All of it: the reference prints an answer that repeats it. A chunked one that is cut may have no byte.
		if err == io.ErrUnexpectedEOF && c.readErr == nil && bytes.HasPrefix(event, []byte("{")) {
			ctx.SetContentType("application/json")
			ctx.SetBody(event)
		}
		s.deps.Room.Release(b)
	}
	if unread = err != io.EOF && err != io.ErrUnexpectedEOF || c.readErr != nil; unread {
		ctx.SetConnectionClose() // how much is left is not known to skip
	}
	return unread
}
