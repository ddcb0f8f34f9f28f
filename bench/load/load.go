// Package load sends telemetry to ingest as fast as it answers (closed loop): prebuilt requests over
// keep-alive connections, written as they are, with a minimal reading of the answers. It costs far
// less CPU per event than what it measures.
//
// A [Run] counts in phases, so that warming up is kept out of the figures. A [Recorder] learns of every
// body that is posted and of its answer; the oracle of the tests is one.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Options describe a run.
type Options struct {
	// Addr is the host:port to post to.
	Addr string
	// Conns is the number of connections; each has one request out at a time.
	Conns int
	// Profile describes the bodies.
	Profile Profile
	// RetryAfter makes a connection wait one to two times as long as a 503 asks for and then send the same
	// body again.
	RetryAfter bool
	// ReadWhileWriting reads the answer while the body is still being written and stops writing when it is
	// a refusal, as HTTP clients do with big bodies.
	ReadWhileWriting bool
	// Timeout is the longest wait for an answer, counted from the first byte sent; 0 means 60 s.
	Timeout time.Duration
	// MaxEvents ends the run when about that many events have been sent; 0 means no end.
	MaxEvents int64
	// MaxRate slows the run down to about that many events per second; 0 means as fast as possible.
	MaxRate float64
	// Recorder hears of every body; nil means nobody does. It needs a marked profile.
	Recorder Recorder
}

// Recorder hears what was posted. Calls for one connection come one after the other, in the order of
// sending; calls for different connections come at the same time.
type Recorder interface {
	// Stamp is called before a body is sent for the first time. It marks the events.
	Stamp(conn int, p *Payload)
	// Posted is called after each attempt. status is 0 when no answer came, so that nobody knows the
	// outcome. With RetryAfter the same body may be posted once more afterwards.
	Posted(conn int, p *Payload, status int)
}

const (
	defaultTimeout = 60 * time.Second
	maxPhases      = 8
)

func (o *Options) validate() error {
	switch {
	case o.Addr == "":
		return errors.New("load: no address")
	case o.Conns < 1:
		return fmt.Errorf("load: %d connections", o.Conns)
	case o.Recorder != nil && !o.Profile.Marked:
		return errors.New("load: a recorder needs a marked profile")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return nil
}

// Run is a load that is on its way.
type Run struct {
	opts    Options
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	workers []*worker
	phase   atomic.Int32
	sent    atomic.Int64 // events, for MaxEvents
	begun   [maxPhases]time.Time
}

// Start begins to send. The caller must call Stop. The run starts in phase 0.
func Start(ctx context.Context, o Options) (*Run, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	r := &Run{opts: o, workers: make([]*worker, o.Conns)}
	shared, err := o.Profile.Build(0)
	if err != nil {
		return nil, err
	}
	for i := range r.workers {
		payloads := shared
		if o.Profile.Marked {
			if payloads, err = o.Profile.Build(i); err != nil {
				return nil, err
			}
		}
		r.workers[i] = newWorker(r, i, payloads)
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.begun[0] = time.Now()
	for _, w := range r.workers {
		r.wg.Go(func() { w.run(ctx) })
	}
	return r, nil
}

// take asks to send n more events.
func (r *Run) take(n int) bool {
	most := r.opts.MaxEvents
	return most == 0 || r.sent.Add(int64(n))-int64(n) < most
}

// Next begins the next phase and returns its number. There are at most 8.
func (r *Run) Next() int {
	n := r.phase.Load() + 1
	if n >= maxPhases {
		panic("load: too many phases")
	}
	r.begun[n] = time.Now()
	r.phase.Store(n)
	return int(n)
}

// Wait waits until MaxEvents are sent and answered, or until the context given to Start ends, and then
// returns the results as Stop does.
func (r *Run) Wait() []Result {
	r.wg.Wait()
	return r.Stop()
}

// Stop lets every connection finish its request, closes it, and returns the results by phase. An answer
// belongs to the phase in which it arrived.
func (r *Run) Stop() []Result {
	end := time.Now()
	r.cancel()
	r.wg.Wait()
	results := make([]Result, r.phase.Load()+1)
	for i := range results {
		until := end
		if i+1 < len(results) {
			until = r.begun[i+1]
		}
		results[i] = Result{Elapsed: until.Sub(r.begun[i]), Status: map[int]int64{}}
		for _, w := range r.workers {
			results[i].add(w.stats[i])
		}
	}
	return results
}

// Result is what happened in one phase.
type Result struct {
	Elapsed time.Duration
	Events  int64         // in bodies that were answered 200
	Bodies  int64         // answered 200
	Bytes   int64         // of these bodies
	Status  map[int]int64 // bodies by the answer's status
	NoReply int64         // requests that were sent, at least in part, and got no answer
	Refused int64         // attempts to connect that failed
	Retries int64         // bodies sent again after a Retry-After
	Latency Hist          // from the first byte sent to the whole answer, of bodies answered 200

	// MissingRetryAfter counts 503 answers that did not say when to come again.
	MissingRetryAfter int64
	// LastError is one of the errors, for a human.
	LastError error
}

// EventsPerSecond is Events over Elapsed.
func (r *Result) EventsPerSecond() float64 { return float64(r.Events) / r.Elapsed.Seconds() }

func (r *Result) add(s *Result) {
	if s == nil {
		return
	}
	r.Events += s.Events
	r.Bodies += s.Bodies
	r.Bytes += s.Bytes
	r.NoReply += s.NoReply
	r.Refused += s.Refused
	r.Retries += s.Retries
	r.MissingRetryAfter += s.MissingRetryAfter
	for k, n := range s.Status {
		r.Status[k] += n
	}
	r.Latency.Merge(&s.Latency)
	if s.LastError != nil {
		r.LastError = s.LastError
	}
}
