package listen

import (
	"bytes"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// fasthttp's own Date wakes the process each second, and no other can be set. So the field is put behind the status
// line when an answer is written.

// dateLine is the Date of one second. It is made when an answer of another second is begun, so it needs no timer.
type dateLine struct {
	second int64
	field  []byte // the whole line
	plain  []byte // plainAnswer with the line
}

// plainAnswer is what fasthttp writes for a delivery of which there is nothing to tell: nearly every answer.
const plainAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// lineOf returns the dateLine of t.
func (s *Server) lineOf(t time.Time) *dateLine {
	second := t.Unix()
	d := s.lastDate.Load()
	if d != nil && d.second == second {
		return d
	}
	if s.deps.Refresh != nil {
		s.deps.Refresh()
	}
	d = &dateLine{second: second, field: append(t.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)}
	d.plain = d.date(nil, []byte(plainAnswer))
	s.lastDate.Store(d)
	return d
}

// begin begins an answer at t with what every answer has. The next write is its first.
func (s *Server) begin(ctx *fasthttp.RequestCtx, c *conn, t time.Time) {
	c.date = s.lineOf(t)
	s.guard.cors(ctx)
}

// date appends an answer with a Date behind its first line.
func (d *dateLine) date(to, answer []byte) []byte {
	line := bytes.IndexByte(answer, '\n') + 1
	return append(append(append(to, answer[:line]...), d.field...), answer[line:]...)
}

// writeDated writes p, the beginning of an answer, with a Date.
func (c *conn) writeDated(p []byte, d *dateLine) (int, error) {
	var err error
	if string(p) == plainAnswer { // does not allocate
		_, err = c.send(d.plain)
	} else {
		buf, _ := c.srv.dated.Get().(*[]byte)
		if buf == nil {
			buf = new([]byte)
		}
		*buf = d.date((*buf)[:0], p)
		_, err = c.send(*buf)
		c.srv.dated.Put(buf)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
