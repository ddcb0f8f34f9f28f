package load

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
)

// Profile describes the bodies of a run.
type Profile struct {
	// Kind says what the events are.
	Kind Kind
	// Events is the number of events in a body. Mixed and Hostile bodies have as many as they like.
	Events int
	// Bodies is the number of different bodies that are built; 0 means a number that keeps all of
	// them within 4 MiB.
	Bodies int
	// Path of the requests; empty means "/v1/events".
	Path string
	// KeylessLogs leaves the traceId out of log lines, as the platform's reference does. Not of marked ones, which are
	// told apart by it.
	KeylessLogs bool
	// Marked events carry an id and a sequence number that [Payload.Mark] writes; each connection
	// then has bodies and keys of its own.
	Marked bool
	// Keys is the number of keys of a connection whose events are marked; 0 means 32.
	Keys int
	// Encoding compresses the bodies: "gzip", "zstd", or empty. Not of marked ones.
	Encoding string
	// Seed decides everything that is random.
	Seed uint64
}

const (
	defaultBytes  = 4 << 20 // of all prebuilt bodies
	defaultBodies = 1024    // at most
	defaultKeys   = 32
)

// Payload is one prebuilt request. Its bytes are shared by all connections unless it is marked.
type Payload struct {
	// Request is the whole request, header and body.
	Request []byte
	// Body is the part of Request after the header.
	Body []byte
	// Bad is how many of the events are none, and will be dead letters.
	Bad int

	plain  []byte // the body before compression
	events []span // within plain; empty ones of simulated bodies
	marks  []mark // nil unless marked
}

type span struct{ from, to int }

// mark says where the digits of an event are in Body, and which of the connection's keys it has.
type mark struct{ id, seq, key int }

// Events is the number of events in the body.
func (p *Payload) Events() int { return len(p.events) }

// Event returns the bytes of event i before compression; nothing for Mixed and Hostile bodies.
func (p *Payload) Event(i int) []byte { return p.plain[p.events[i].from:p.events[i].to] }

// Key returns which of its connection's keys event i of a marked payload has, from 0.
func (p *Payload) Key(i int) int { return p.marks[i].key }

// Mark writes the id and the sequence number of event i into the body. Both must be below 10^12 and
// 10^10.
func (p *Payload) Mark(i int, id, seq uint64) {
	m := &p.marks[i]
	putDigits(p.Body[m.id:m.id+idDigits], id)
	putDigits(p.Body[m.seq:m.seq+seqDigits], seq)
}

func putDigits(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = '0' + byte(v%10)
		v /= 10
	}
}

// Build makes the bodies of one connection, or of all of them when they are not marked.
func (p Profile) Build(conn int) ([]*Payload, error) {
	switch {
	case p.Marked && (p.Encoding != "" || p.Kind.simulated()):
		return nil, fmt.Errorf("bodies that are compressed or of kind %q cannot be marked", p.Kind)
	case p.Marked && p.KeylessLogs:
		return nil, errors.New("marked log lines need their traceId")
	case p.Kind.simulated():
		p.Events = max(p.Events, 1)
	case p.Events < 1:
		return nil, fmt.Errorf("a body of %d events", p.Events)
	}
	if p.Path == "" {
		p.Path = "/v1/events"
	}
	if p.Keys == 0 {
		p.Keys = defaultKeys
	}
	if p.Bodies == 0 {
		p.Bodies = max(1, min(defaultBodies, defaultBytes/(p.Events*(EventBytes+1))))
		if p.Marked {
			// Each connection has its own: as many as its keys take.
			p.Bodies = min(p.Bodies, (eventsPerInvocation*p.Keys+p.Events-1)/p.Events)
		}
	}
	if p.Kind.simulated() {
		return p.simulate()
	}
	w := &writer{rng: rand.New(rand.NewPCG(p.Seed, uint64(conn))), marked: p.Marked, keyless: p.KeylessLogs}
	w.newKey = p.keys(w.rng, conn)
	payloads := make([]*Payload, p.Bodies)
	for i := range payloads {
		var err error
		if payloads[i], err = p.build(w); err != nil {
			return nil, err
		}
	}
	return payloads, nil
}

// keys returns the source of a connection's traceIds: for marked events its own few in turn, else random.
func (p Profile) keys(rng *rand.Rand, conn int) func() (string, int) {
	next := 0
	return func() (string, int) {
		if !p.Marked {
			return fmt.Sprintf("%08x-%04x-11ee-%04x-%012x", rng.Uint32(), rng.IntN(1<<16), rng.IntN(1<<16), rng.Uint64()>>16), 0
		}
		key := next % p.Keys
		next++
		return fmt.Sprintf("%08x-0233-11ee-%04x-%012x", uint32(p.Seed), conn, key), key
	}
}

func (p Profile) build(w *writer) (*Payload, error) {
	events := make([]span, p.Events)
	var marks []mark
	body := []byte{'['}
	for i := range events {
		if i > 0 {
			body = append(body, ',')
		}
		from := len(body)
		switch p.Kind {
		case FunctionLogs:
			body = w.functionLog(body)
		case PlatformReports:
			body = w.platformReport(body)
		default:
			// Bodies of one event take the events of an invocation in turn.
			body = w.next(body, i == 0 && p.Events > 1)
		}
		events[i] = span{from, len(body)}
		if p.Marked {
			marks = append(marks, findMark(body, from, w.key))
		}
	}
	out, err := p.request(append(body, ']'))
	if err != nil {
		return nil, err
	}
	out.events, out.marks = events, marks
	return out, nil
}

// findMark finds the digits of the event that starts at from.
func findMark(body []byte, from, key int) mark {
	const idName, between = `"id":"`, `","seq":"`
	at := from + bytes.Index(body[from:], []byte(idName)) + len(idName)
	return mark{id: at, seq: at + idDigits + len(between), key: key}
}
