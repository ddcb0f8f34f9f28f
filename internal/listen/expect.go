package listen

import (
	"time"

	"github.com/valyala/fasthttp"
)

// expect decides about a request with "Expect: 100-continue": either the body is admitted and the
// client told to go on, or the answer is given at once and no byte of the body need be sent. A
// reservation made here waits in the conn for the handler; when the handler is never called, because
// the client has gone, Close gives it back.
//
// fasthttp's documentation says that the response must not be modified here, but it sends what is in
// it with the status returned (v1.78, serveConnCounted); a test holds it to that.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	c := ctx.Conn().(*conn) //nolint:forcetypeassert // accept.go makes no others
	s.lineOf(time.Now())    // has tokens read again before they are compared
	switch t, r := s.judge(ctx, c); {
	case !c.framed(ctx):
		s.refuse(ctx, c.readFailure())
	case r != reasons && (s.health(ctx) || t == telemetry && s.guard.preflight(ctx)): // the answer is the final one
	case r != reasons:
		s.refuse(ctx, r)
	case t == invocation:
		return fasthttp.StatusContinue
	default:
		switch s.admit(ctx, c, ctx.Request.Header.ContentLength()) {
		case admitted:
			c.expectBody()
			return fasthttp.StatusContinue
		case empty:
			return fasthttp.StatusContinue
		}
	}
	s.begin(ctx, c, time.Now())
	c.unread = true
	c.enter(writing, s.limits.read)
	return ctx.Response.StatusCode()
}
