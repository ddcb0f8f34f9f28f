package load

import (
	"time"

	"functiongraph-ingest/bench/hist"
)

// Result is what happened in one phase.
type Result struct {
	Elapsed time.Duration
	Events  int64         // in bodies that were answered 200
	Bodies  int64         // answered 200
	Bytes   int64         // of these bodies, as sent
	Status  map[int]int64 // bodies by the answer's status
	NoReply int64         // requests that were sent, at least in part, and got no answer
	Refused int64         // attempts to connect that failed
	Retries int64         // bodies sent again after a Retry-After
	// Latency of bodies answered 200, to the whole answer: from the first byte sent in a closed loop, from
	// the intended time in an open one.
	Latency hist.Hist
	// Refusal is the time from the first byte sent to the whole answer, of bodies answered otherwise.
	Refusal hist.Hist

	// MissingRetryAfter counts 503 answers that did not say when to come again.
	MissingRetryAfter int64
	// LastError is one of the errors, for a human.
	LastError error

	// What follows is of open loops.

	Offered int64 // events whose time came
	Waited  int64 // bodies that found no free connection when their time came
	Unsent  int64 // bodies that were still waiting for a connection at the end of the run
	// Late is how much after its time a body was sent that found a free connection: what the generator
	// itself adds to the latency.
	Late hist.Hist
}

// EventsPerSecond is Events over Elapsed.
func (r *Result) EventsPerSecond() float64 { return float64(r.Events) / r.Elapsed.Seconds() }

// Answers is the number of answers of any status.
func (r *Result) Answers() (n int64) {
	for _, c := range r.Status {
		n += c
	}
	return n
}

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
	r.Offered += s.Offered
	r.Waited += s.Waited
	r.Unsent += s.Unsent
	for k, n := range s.Status {
		r.Status[k] += n
	}
	r.Latency.Merge(&s.Latency)
	r.Refusal.Merge(&s.Refusal)
	r.Late.Merge(&s.Late)
	if s.LastError != nil {
		r.LastError = s.LastError
	}
}

// Window is what was answered in one interval of a run.
type Window struct {
	At      time.Duration // its start, since the start of the run
	Events  int64         // in bodies answered 200
	Refused int64         // bodies answered otherwise
	NoReply int64
	Latency hist.Hist // as in Result
}

// Series returns the windows of a run that has ended, from its start; nil without Options.Interval.
func (r *Run) Series() []Window {
	n := 0
	for _, l := range r.loops {
		n = max(n, len(l.windows))
	}
	series := make([]Window, n)
	for i := range series {
		s := &series[i]
		s.At = time.Duration(i) * r.opts.Interval
		for _, l := range r.loops {
			if i >= len(l.windows) || l.windows[i] == nil {
				continue
			}
			w := l.windows[i]
			s.Events += w.Events
			s.Refused += w.Refused
			s.NoReply += w.NoReply
			s.Latency.Merge(&w.Latency)
		}
	}
	return series
}
