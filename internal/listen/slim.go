package listen

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// fasthttp holds a header about two and a half times beside the read buffer, and the target of its request line three
// times, until the answer is out. That is not in what a connection is charged (internal/config), and a body may take
// --read-timeout to come, that of a refused request too, and as long its answer to be read. So a long header is given
// back before its body is read, or before its answer is written.

// slimFrom is the length from which on a header is given back.
const slimFrom = 1 << 10

// slim gives the memory of a long header back, once. The caller has read all that it wants of it: what is kept is what
// is needed to read the body and to answer.
func (s *Server) slim(ctx *fasthttp.RequestCtx, c *conn) {
	if c.head.size < slimFrom {
		return
	}
	c.head.size = 0
	h := &ctx.Request.Header
	length, last, head := h.ContentLength(), h.ConnectionClose(), h.IsHead()
	var origin []byte
	if o := h.PeekCanonical(s.guard.origin); s.guard.allows(o) {
		origin = bytes.Clone(o)
	}
	*h = fasthttp.RequestHeader{}
	*ctx.URI() = fasthttp.URI{}
	if h.SetMethod(fasthttp.MethodPost); head { // whose answer has no body
		h.SetMethod(fasthttp.MethodHead)
	}
	h.SetContentLength(length)
	if last {
		h.SetConnectionClose()
	}
	if origin != nil {
		h.SetCanonical(s.guard.origin, origin)
	}
}
