package load

import (
	"context"
	"math/rand/v2"
	"net"
	"time"
)

const (
	responseBuffer   = 4 << 10
	reconnectPause   = 20 * time.Millisecond // between failed attempts to connect
	deadlineStep     = time.Second           // a deadline is moved at most this often: timers cost
	statusNoReply    = 0
	statusOK         = 200
	statusOverloaded = 503
)

// worker owns one connection.
type worker struct {
	load     *Run
	id       int
	payloads []*Payload
	conn     net.Conn // nil while not connected
	deadline time.Time
	buf      []byte
	stats    [maxPhases]*Result // by phase, made when needed
	due      time.Time          // of the next body, with MaxRate
}

func newWorker(r *Run, id int, payloads []*Payload) *worker {
	return &worker{load: r, id: id, payloads: payloads, buf: make([]byte, responseBuffer)}
}

func (w *worker) run(ctx context.Context) {
	defer w.disconnect()
	// Connections that share bodies start at different ones.
	for next := w.id; ; next++ {
		p := w.payloads[next%len(w.payloads)]
		if !w.pace(ctx, p.Events()) || ctx.Err() != nil || !w.load.take(p.Events()) {
			return
		}
		if w.load.opts.Recorder != nil {
			w.load.opts.Recorder.Stamp(w.id, p)
		}
		w.deliver(ctx, p)
	}
}

// deliver sends one body until it is answered or lost.
func (w *worker) deliver(ctx context.Context, p *Payload) {
	for {
		if !w.connect(ctx) {
			return
		}
		start := time.Now()
		resp, err := w.exchange(p, start)
		w.count(p, resp, err, time.Since(start))
		if w.load.opts.Recorder != nil {
			w.load.opts.Recorder.Posted(w.id, p, resp.status)
		}
		if resp.status != statusOverloaded || resp.retryAfter == 0 || !w.load.opts.RetryAfter || !wait(ctx, jittered(resp.retryAfter)) {
			return
		}
		w.now().Retries++
	}
}

// exchange sends the request and reads the answer. A status of 0 means that none came.
func (w *worker) exchange(p *Payload, start time.Time) (response, error) {
	if w.deadline.Sub(start) < w.load.opts.Timeout {
		w.deadline = start.Add(w.load.opts.Timeout + deadlineStep)
		_ = w.conn.SetDeadline(w.deadline)
	}
	var resp response
	var readErr, writeErr error
	if w.load.opts.ReadWhileWriting {
		done := make(chan struct{})
		go func() {
			defer close(done)
			resp, readErr = readResponse(w.conn, w.buf)
			if readErr != nil || resp.close {
				// Refused: nobody wants the rest of the body. Every HTTP client stops here.
				_ = w.conn.SetWriteDeadline(time.Unix(1, 0))
			}
		}()
		_, writeErr = w.conn.Write(p.Request)
		<-done
	} else {
		_, writeErr = w.conn.Write(p.Request)
		// After a failed write too: an early refusal may be waiting.
		resp, readErr = readResponse(w.conn, w.buf)
	}
	if readErr != nil || writeErr != nil || resp.close {
		w.disconnect()
	}
	if readErr != nil {
		resp.status = statusNoReply
	}
	return resp, readErr
}

func (w *worker) count(p *Payload, resp response, err error, took time.Duration) {
	s := w.now()
	switch {
	case resp.status == statusNoReply:
		s.NoReply++
		s.LastError = err
		return
	case resp.status == statusOK:
		s.Events += int64(p.Events())
		s.Bodies++
		s.Bytes += int64(len(p.Body))
		s.Latency.Add(took)
	case resp.status == statusOverloaded && resp.retryAfter == 0:
		s.MissingRetryAfter++
	}
	s.Status[resp.status]++
}

// now returns the figures of the current phase.
func (w *worker) now() *Result {
	phase := w.load.phase.Load()
	if w.stats[phase] == nil {
		w.stats[phase] = &Result{Status: map[int]int64{}}
	}
	return w.stats[phase]
}

// connect returns false when the run ended before there was a connection.
func (w *worker) connect(ctx context.Context) bool {
	for w.conn == nil {
		d := net.Dialer{Timeout: w.load.opts.Timeout}
		conn, err := d.DialContext(ctx, "tcp", w.load.opts.Addr)
		if err == nil {
			w.conn, w.deadline = conn, time.Time{}
			break
		}
		if ctx.Err() != nil {
			return false
		}
		s := w.now()
		s.Refused++
		s.LastError = err
		if !wait(ctx, reconnectPause) {
			return false
		}
	}
	return true
}

func (w *worker) disconnect() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// pace keeps a run with MaxRate slow. Each connection sends its share; one that fell behind because an
// answer took long does not catch up by more than one body.
func (w *worker) pace(ctx context.Context, events int) bool {
	rate := w.load.opts.MaxRate / float64(w.load.opts.Conns)
	if rate <= 0 {
		return true
	}
	step := time.Duration(float64(events) / rate * float64(time.Second))
	now := time.Now()
	if w.due.IsZero() { // spread the connections over one step
		w.due = now.Add(step * time.Duration(w.id) / time.Duration(w.load.opts.Conns))
	}
	if ahead := w.due.Sub(now); ahead > 0 {
		if !wait(ctx, ahead) {
			return false
		}
	} else if -ahead > step {
		w.due = now
	}
	w.due = w.due.Add(step)
	return true
}

// wait returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jittered spreads a wait over one to two times its length: clients that were refused together must not
// come back together.
func jittered(d time.Duration) time.Duration { return d + rand.N(d) }
