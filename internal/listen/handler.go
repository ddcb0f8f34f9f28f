package listen

import (
	"io"

	"github.com/valyala/fasthttp"
)

const (
	// maxInvocation is how much of an invocation event is read; it has about 150 bytes.
	maxInvocation = 64 << 10
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
		return invocation
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
	switch t := s.target(ctx.Path()); {
	case t == nowhere:
		s.refuse(ctx, reasonNotFound)
		unread = ctx.Request.IsBodyStream()
	case !ctx.IsPost():
		s.refuse(ctx, reasonMethod)
		unread = ctx.Request.IsBodyStream()
	case t == invocation:
		unread = s.invocation(ctx)
	default:
		unread = s.delivery(ctx, c)
	}
	last := s.admission.closed() || ctx.Response.ConnectionClose() || ctx.Request.Header.ConnectionClose()
	if unread && !last {
		last = !c.skip(ctx.RequestBodyStream(), ctx.Request.Header.ContentLength())
	}
	if last {
		ctx.SetConnectionClose()
		c.linger = unread
	}
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
	s.refuse(ctx, r)
	c.linger = true
	c.enter(writing, s.limits.read)
}

// invocation hands an invocation event on. It is acknowledged whatever it contains: the platform
// waits for the 200, and the user's function with it.
func (s *Server) invocation(ctx *fasthttp.RequestCtx) (unread bool) {
	s.count.events.Add(1)
	stream := ctx.RequestBodyStream()
	if s.deps.OnInvoke == nil || stream == nil {
		return stream != nil
	}
	// Not through the gate: these are small, few, and must never be refused.
	data, err := io.ReadAll(io.LimitReader(stream, maxInvocation))
	s.deps.OnInvoke(data)
	if unread = len(data) == maxInvocation || err != nil; unread {
		ctx.SetConnectionClose() // how much is left is not known to skip
	}
	return unread
}
