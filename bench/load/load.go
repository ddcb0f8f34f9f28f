// Package load sends telemetry over HTTP and costs far less CPU per event than what it measures: prebuilt
// requests over keep-alive connections, sent from an event loop over epoll that makes one write and one
// read per request, with a minimal reading of the answers.
//
// A closed loop sends the next body of a connection when the last one is answered: it finds the most that a
// server takes. An open loop (Options.Arrivals) sends at times that do not depend on the server, and counts
// latency from these intended times: it finds what users of a rate see.
//
// A [Run] counts in phases, so that warming up is kept out of the figures, and in windows of time. A
// [Recorder] learns of every body that is posted and of its answer; the oracle of the tests is one.
//
// It needs Linux.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Arrivals say when an open loop sends.
type Arrivals string

// The kinds of arrivals.
const (
	Closed   Arrivals = ""         // no open loop
	Constant Arrivals = "constant" // evenly spaced
	Poisson  Arrivals = "poisson"  // as many independent clients send
)

// Options describe a run.
type Options struct {
	// Addr is the host:port to post to.
	Addr string
	// Conns is the number of connections; each has one request out at a time.
	Conns int
	// Threads is the number of event loops; 0 means half of the processors. More than Conns are not used.
	Threads int
	// Profile describes the bodies.
	Profile Profile
	// Arrivals make the loop an open one, with Rate events per second. A body whose time has come waits for
	// a free connection; that is part of its latency.
	Arrivals Arrivals
	Rate     float64
	// RetryAfter makes a connection wait one to two times as long as a 503 asks for and then send the same
	// body again.
	RetryAfter bool
	// ReadWhileWriting reads the answer while the body is still being written and stops writing when it is
	// a refusal, as HTTP clients do with big bodies.
	ReadWhileWriting bool
	// Timeout is the longest wait for an answer, counted from the first byte sent, in steps of 100 ms;
	// 0 means 60 s.
	Timeout time.Duration
	// MaxEvents ends the run when about that many events have been sent; 0 means no end.
	MaxEvents int64
	// MaxRate slows a closed loop down to about that many events per second; 0 means as fast as possible.
	MaxRate float64
	// Interval is the length of the windows of Run.Series; 0 means there are none.
	Interval time.Duration
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
	maxPhases      = 64
)

func (o *Options) validate() error {
	switch {
	case o.Addr == "":
		return errors.New("load: no address")
	case o.Conns < 1:
		return fmt.Errorf("load: %d connections", o.Conns)
	case o.Recorder != nil && !o.Profile.Marked:
		return errors.New("load: a recorder needs a marked profile")
	case o.Arrivals != Closed && o.Arrivals != Constant && o.Arrivals != Poisson:
		return fmt.Errorf("load: unknown arrivals %q", o.Arrivals)
	case o.Arrivals != Closed && o.Rate <= 0:
		return errors.New("load: an open loop needs a rate")
	case o.Arrivals != Closed && (o.RetryAfter || o.MaxRate > 0):
		return errors.New("load: an open loop sends nothing again and has no other rate")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Threads == 0 {
		o.Threads = max(1, runtime.NumCPU()/2)
	}
	o.Threads = min(o.Threads, o.Conns)
	return nil
}

// Run is a load that is on its way.
type Run struct {
	opts  Options
	start time.Time
	wg    sync.WaitGroup
	loops []*loop
	ended atomic.Bool
	phase atomic.Int32
	sent  atomic.Int64 // events, for MaxEvents
	begun [maxPhases]time.Time

	forget func() bool // takes the run off its context
}

// Start begins to send. The caller must call Stop or Wait. The run starts in phase 0 and ends with ctx.
func Start(ctx context.Context, o Options) (*Run, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	addr, err := net.ResolveTCPAddr("tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	r := &Run{opts: o}
	shared, err := o.Profile.Build(0)
	if err != nil {
		return nil, err
	}
	r.start = time.Now()
	for i := range o.Threads {
		l, err := newLoop(r, i, addr)
		if err != nil {
			r.closeAll()
			return nil, err
		}
		r.loops = append(r.loops, l)
	}
	for i := range o.Conns {
		payloads := shared
		if o.Profile.Marked && i > 0 {
			if payloads, err = o.Profile.Build(i); err != nil {
				r.closeAll()
				return nil, err
			}
		}
		r.loops[i%o.Threads].add(i, payloads)
	}
	r.start = time.Now()
	r.begun[0] = r.start
	r.forget = context.AfterFunc(ctx, func() { r.ended.Store(true) })
	for _, l := range r.loops {
		r.wg.Go(l.run)
	}
	return r, nil
}

func (r *Run) closeAll() {
	for _, l := range r.loops {
		l.close()
	}
}

// take asks to send n more events.
func (r *Run) take(n int) bool {
	most := r.opts.MaxEvents
	return most == 0 || r.sent.Add(int64(n))-int64(n) < most
}

// Next begins the next phase and returns its number. There are at most 64.
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
	r.forget()
	r.ended.Store(true)
	r.wg.Wait()
	results := make([]Result, r.phase.Load()+1)
	for i := range results {
		until := end
		if i+1 < len(results) {
			until = r.begun[i+1]
		}
		results[i] = Result{Elapsed: until.Sub(r.begun[i]), Status: map[int]int64{}}
		for _, l := range r.loops {
			results[i].add(l.stats[i])
		}
	}
	return results
}

// Progress is what was answered so far; it may be called at any time.
type Progress struct {
	Events, Bodies, Refused int64 // answered 200; answered otherwise, or not at all
}

// Progress returns what was answered so far, a few milliseconds late.
func (r *Run) Progress() (p Progress) {
	for _, l := range r.loops {
		p.Events += l.public.events.Load()
		p.Bodies += l.public.bodies.Load()
		p.Refused += l.public.refused.Load()
	}
	return p
}
