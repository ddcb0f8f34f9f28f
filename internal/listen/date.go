package listen

import (
	"bufio"
	"bytes"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// dateLine is the header of an answer of one second. It is made anew when a request comes in another second, so it
// needs no timer: fasthttp's own Date wakes the process each second.
type dateLine struct {
	second int64
	text   []byte                  // the value
	header fasthttp.ResponseHeader // once parsed
	parsed bool
}

// lineOf returns the dateLine of t. like is any header of this server's answers; nil: only the text is needed.
func (s *Server) lineOf(t time.Time, like *fasthttp.ResponseHeader) *dateLine {
	d := s.lastDate.Load()
	if d != nil && d.second == t.Unix() && (like == nil || d.parsed) {
		return d
	}
	if s.deps.Refresh != nil && (d == nil || d.second != t.Unix()) {
		s.deps.Refresh()
	}
	d = &dateLine{second: t.Unix(), text: t.UTC().AppendFormat(nil, http.TimeFormat)}
	if like != nil {
		// fasthttp takes a Date only from a header that it parses. What NoDefaultDate said is copied, and outlives that.
		like.CopyTo(&d.header)
		text := append([]byte("HTTP/1.1 200 \r\nContent-Length: 0\r\nDate: "), d.text...)
		if err := d.header.Read(bufio.NewReader(bytes.NewReader(append(text, "\r\n\r\n"...)))); err != nil {
			panic("listen: the header of an answer cannot be read: " + err.Error())
		}
		d.parsed = true
	}
	s.lastDate.Store(d)
	return d
}

// begin begins an answer at t with what every answer has. Whatever was in its header is gone.
func (s *Server) begin(ctx *fasthttp.RequestCtx, t time.Time) {
	s.lineOf(t, &ctx.Response.Header).header.CopyTo(&ctx.Response.Header)
	s.guard.cors(ctx)
}
