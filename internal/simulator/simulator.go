// Package simulator makes the telemetry that the instances of a FunctionGraph function send: every kind of
// event of the protocol, under the traceIds of invocations that run at the same time, with the slips of the
// platform's own reference, and with bodies that are broken in ways met in practice.
//
// A [Generator] stands for one instance. It is deterministic: the same [Config] makes the same bytes. Each
// [Delivery] says what is in its body, so that its sender can hold a receiver to account for every
// event. For that purpose every event carries a field that the protocol does not have, eventId (see [ID]);
// unknown fields do not make an event bad.
package simulator

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Config says what an instance is like. The zero value is an instance that sends good events only, each
// written as the field lists of the reference say, in arrays.
type Config struct {
	Seed   uint64
	Stream uint16 // tells the generators of one run apart: their ids and traceIds differ

	Concurrency int  // invocations that run at the same time, at most; 100
	Steady      bool // as many invocations as Concurrency run at every moment, instead of bursts
	Logs        int  // lines that one invocation logs, at most; 8
	MaxEvents   int  // events of one body, at most, a broken one not counted; 200

	Types []string // of the events: "platform", "function", "extension"; nil is all

	LogTraces float64 // share of the function's log lines that have a traceId; the reference gives them none

	Slips  float64 // share of events that are spelled like the reference's samples
	Broken float64 // share of bodies with something that is no event, see Breakage
	Lines  float64 // share of bodies sent as NDJSON; above 0 some single events are sent without an array

	Cold bool    // the first invocation has to wait until the instance is initialised
	Late float64 // share of the function's log lines that come after the end of their invocation

	Start time.Time        // of the first event; 2026-03-01T00:00:00Z
	Now   func() time.Time // no delivery begins earlier than it says; nil: time passes by the events only
}

const (
	defaultConcurrency = 100
	defaultMaxEvents   = 200
	defaultLogs        = 8
	// A burst of invocations starts on the average once in so many bodies, and whenever none is left.
	burstEvery = 4
)

// Generator makes the deliveries of one instance. It is not safe for concurrent use.
type Generator struct {
	cfg  Config
	rng  *rand.Rand
	now  time.Time
	seq  uint64 // of the next event
	open []*invocation
	late []lateLine // oldest first
	pod  string

	cold, restored bool // such events were sent

	broke int // bodies that were broken so far
}

// New returns a generator at its start.
func New(cfg Config) *Generator {
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Logs <= 0 {
		cfg.Logs = defaultLogs
	}
	if cfg.MaxEvents <= 0 {
		cfg.MaxEvents = defaultMaxEvents
	}
	if cfg.Start.IsZero() {
		cfg.Start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	}
	g := &Generator{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Stream))), now: cfg.Start.UTC()}
	g.pod = fmt.Sprintf("pool22-300-128-fusion-%08x-%05x", g.rng.Uint32(), g.rng.IntN(1<<20))
	return g
}

// Next makes the next delivery into d, whose memory is used again: what d held before is gone.
func (g *Generator) Next(d *Delivery) {
	d.reset()
	g.keepUp()
	if g.cfg.Steady || len(g.open) == 0 || g.rng.IntN(burstEvery) == 0 {
		g.burst(d)
	}
	n := 1 + g.rng.IntN(min(2*len(g.open), g.cfg.MaxEvents))
	d.NDJSON = g.chance(g.cfg.Lines)
	broken, at := Intact, -1
	if g.chance(g.cfg.Broken) {
		broken = Breakage(1 + (int(g.cfg.Stream)+g.broke)%int(numBreakages-1)) // in turn: a short run has all
		g.broke++
		at = g.rng.IntN(n + 1)
	}
	switch broken {
	case NotJSON:
		g.notJSON(d)
		return
	case TruncatedBody:
		at = n
	}
	array := !d.NDJSON && (n > 1 || broken != Intact || g.cfg.Lines == 0 || g.chance(0.5))
	if array {
		d.Body = append(d.Body, '[')
	}
	for i := range n {
		if i == at {
			g.broken(d, broken)
		}
		if len(g.open) == 0 {
			g.burst(d)
		}
		g.good(d)
	}
	if at == n {
		g.broken(d, broken)
	}
	if array && broken != TruncatedBody {
		d.Body = append(d.Body, ']')
	}
}

// good appends the next event of one of the invocations that run.
func (g *Generator) good(d *Delivery) {
	if g.lateLine(d) {
		return
	}
	i := g.rng.IntN(len(g.open))
	v := g.open[i]
	for len(v.todo) > 1 && v.todo[0] == Function && g.chance(g.cfg.Late) {
		g.hold(v)
	}
	e := Event{Kind: v.todo[0], Key: v.trace, Invocation: v.trace}
	if v.todo = v.todo[1:]; len(v.todo) == 0 {
		last := len(g.open) - 1
		g.open[i] = g.open[last]
		g.open[last] = nil
		g.open = g.open[:last]
	}
	if e.Kind == Extension || e.Kind == Function && !g.chance(g.cfg.LogTraces) {
		e.Key = ""
	}
	if slips := slipsOf(e.Kind); g.chance(g.cfg.Slips) {
		e.Slip = slips[g.rng.IntN(len(slips))]
	}
	d.begin(&e)
	d.Body = g.event(d.Body, &e)
	d.end(&e)
}

// event numbers e and appends it.
func (g *Generator) event(dst []byte, e *Event) []byte {
	e.ID = makeID(g.cfg.Stream, g.seq)
	g.seq++
	g.now = g.now.Add(time.Duration(g.rng.IntN(2000)) * time.Microsecond)
	if e.Kind == Start {
		g.now = g.now.Add(2 * time.Millisecond) // it begins after the one before has ended, in whole milliseconds
	}
	return g.appendEvent(dst, e)
}

func (g *Generator) chance(share float64) bool { return share > 0 && g.rng.Float64() < share }
