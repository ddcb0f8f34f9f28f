package listen

import (
	"strconv"
	"time"

	"functiongraph-ingest/internal/body"

	"github.com/valyala/fasthttp"
)

// await waits until every event of the body is settled, the ack timeout is over, or Abort, and
// answers. The wait is one receive: it is ended early through the delivery's GiveUp.
func (s *Server) await(ctx *fasthttp.RequestCtx, c *conn, d *body.Delivery) {
	began := s.conns.now.Load()
	c.enter(waiting, s.limits.ack)
	// Either Abort finds the connection waiting, or the connection sees that it is aborted.
	if s.aborted.Load() {
		d.GiveUp()
	}
	<-d.Done()
	if s.conns.now.Load() != began {
		c.date = s.lineOf(time.Now())
	}
	// After this d cannot be given up any more: it may be used again.
	c.enter(writing, s.limits.read)
	if d.GivenUp() {
		c.delivery = nil // its parts are out for ever: never to be used again
		s.count.ackTimeouts.Add(1)
		text := s.texts.outcome
		if s.aborted.Load() {
			text = s.texts.aborted
		}
		answer(ctx, fasthttp.StatusGatewayTimeout, text)
		return
	}
	events, dead, lost, truncated := d.Events, d.DeadLettered, d.Lost(), d.Truncated
	noEvent, noDead := d.Dropped()
	d.Reset()
	dropped := noEvent + noDead
	switch {
	case lost > dropped:
		s.count.lost.Add(1)
		answerDropped(ctx, lost, events+dead)
	case dead > 0 || dropped > 0 || truncated:
		// What was dropped for good is no reason to send the body again: its other events would be doubled each time.
		var buf [128]byte
		out := append(buf[:0], `{"events":`...)
		out = strconv.AppendInt(out, int64(events-noEvent), 10)
		out = append(out, `,"deadLettered":`...)
		out = strconv.AppendInt(out, int64(dead-noDead), 10)
		if dropped > 0 {
			s.count.lost.Add(1)
			out = append(out, `,"dropped":`...)
			out = strconv.AppendInt(out, int64(dropped), 10)
		}
		if truncated {
			out = append(out, `,"truncated":true`...)
		}
		out = append(out, "}\n"...)
		ctx.SetContentType("application/json")
		ctx.Response.AppendBody(out)
	}
}
