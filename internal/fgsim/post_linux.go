package fgsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"functiongraph-ingest/internal/simulator"
)

// trickle is how many parts a slow body has.
const trickle = 20

// tell sends one invocation event.
func (t *traffic) tell(ctx context.Context, path, trace string) {
	body := fmt.Appendf(nil, `{"traceId":"%s","invokedFunctionUrn":"sn:cn:yrk:1111:function:0@test@hello:latest"}`, trace)
	begun := time.Now()
	status, err := t.send(ctx, t.invoke(path), bytes.NewReader(body), int64(len(body)))
	took := time.Since(begun)
	owed := !t.stopping.Load() && ctx.Err() == nil
	t.mu.Lock()
	t.invokes[statusName(status)]++
	t.events.Add(took)
	t.mu.Unlock()
	if status != http.StatusOK && owed {
		t.note(NotAcknowledged, fmt.Sprintf("invocation event on %s: %s, want 200", path, answerText(status, err)))
	}
}

func statusName(status int) string {
	if status == 0 {
		return "none"
	}
	return strconv.Itoa(status)
}

func answerText(status int, err error) string {
	if err != nil {
		return err.Error()
	}
	return "answered " + strconv.Itoa(status)
}

// send posts and reads the answer. The status is 0 when there is none. length is -1 for chunked. After it the
// body is the caller's again: an answer may come before the body is through (a refusal does), and the client
// goes on reading the body then until it closes it.
func (t *traffic) send(ctx context.Context, url string, body io.Reader, length int64) (int, error) {
	lent := &lentBody{Reader: body, closed: make(chan struct{})}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, lent)
	if err != nil {
		return 0, err
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", "application/json")
	status, err := t.do(r)
	<-lent.closed
	return status, err
}

// do is an exchange within the time that the scenario gives. Its end ends the connection where need be, so
// that the body is closed soon after.
func (t *traffic) do(r *http.Request) (int, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.scenario.Platform.Timeout)
	defer cancel()
	resp, err := t.client.Do(r.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

// lentBody says when the client has done with a body.
type lentBody struct {
	io.Reader
	once   sync.Once
	closed chan struct{}
}

func (b *lentBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

func (s *sender) chance(share float64) bool { return share > 0 && s.rng.Float64() < share }

func (t *traffic) count(f func(*Posts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.posts)
}

// post sends one body as often as the scenario says.
func (s *sender) post(ctx context.Context, d *simulator.Delivery) {
	if s.uri == "" {
		return
	}
	p := &s.scenario.Platform
	large := len(d.Body) >= int(p.Size) && p.Oversize > 0
	n := int64(len(d.Events))
	s.count(func(c *Posts) {
		c.Events += n
		if large {
			c.Oversize++
		}
	})
	status := 0
	for try := range 1 + p.Resend {
		if try > 0 && !wait(ctx, p.ResendAfter) {
			break
		}
		if try > 0 {
			s.count(func(c *Posts) { c.Resent++ })
		}
		if status = s.try(ctx, d); status == http.StatusOK || s.stopping.Load() {
			break
		}
	}
	s.count(func(c *Posts) {
		switch {
		case status == http.StatusOK:
			c.Acked += n
		case s.stopping.Load() || ctx.Err() != nil:
			c.AfterStop += n
		case large && status >= 400 && status < 500:
			c.TooLarge += n
		default:
			c.Lost += n
		}
	})
	if status == http.StatusOK && s.chance(p.Duplicate) {
		s.count(func(c *Posts) { c.Duplicates++ })
		s.try(ctx, d)
	}
}

// try posts a body once, by one of the ways of the platform.
func (s *sender) try(ctx context.Context, d *simulator.Delivery) int {
	p := &s.scenario.Platform
	var body io.Reader = bytes.NewReader(d.Body)
	length := int64(len(d.Body))
	chunked, slow := s.chance(p.Chunked), s.chance(p.Slow)
	if chunked {
		length = -1
	}
	if slow {
		body = &slowReader{ctx: ctx, r: body, part: max(1, len(d.Body)/trickle), pause: p.SlowFor / trickle}
	}
	begun := time.Now()
	status, err := s.send(ctx, s.uri, body, length)
	took := time.Since(begun)
	if s.recorder != nil {
		s.recorder.Posted(d, status, took)
	}
	owed := !s.stopping.Load() && ctx.Err() == nil
	s.count(func(c *Posts) {
		c.Bodies++
		c.Bytes += int64(len(d.Body))
		c.ByStatus[statusName(status)]++
		if chunked {
			c.Chunked++
		}
		if slow {
			c.Slow++
		} else {
			s.telemetry.Add(took)
		}
	})
	if status == 0 && owed {
		s.note(NoAnswer, answerText(status, err))
	}
	return status
}

// slowReader gives a body in parts, with pauses.
type slowReader struct {
	ctx   context.Context
	r     io.Reader
	part  int
	pause time.Duration
}

func (s *slowReader) Read(b []byte) (int, error) {
	if !wait(s.ctx, s.pause) {
		return 0, errors.New("the run has ended")
	}
	return s.r.Read(b[:min(len(b), s.part)])
}
