package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// Profile describes the bodies of a run.
type Profile struct {
	// Events is the number of events in a body.
	Events int
	// Bodies is the number of different bodies that are built; 0 means a number that keeps all of
	// them within 4 MiB.
	Bodies int
	// Path of the requests; empty means "/v1/events".
	Path string
	// Marked events carry an id and a sequence number that [Payload.Mark] writes; each connection
	// then has bodies and keys of its own.
	Marked bool
	// Keys is the number of keys of a connection whose events are marked; 0 means 32.
	Keys int
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

	events []span // within Body
	marks  []mark // nil unless marked
}

type span struct{ from, to int }

// mark says where the digits of an event are in Body, and which of the connection's keys it has.
type mark struct{ id, seq, key int }

// Events is the number of events in the body.
func (p *Payload) Events() int { return len(p.events) }

// Event returns the bytes of event i, a view into Body.
func (p *Payload) Event(i int) []byte { return p.Body[p.events[i].from:p.events[i].to] }

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
	if p.Events < 1 {
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
	w := &writer{rng: rand.New(rand.NewPCG(p.Seed, uint64(conn))), marked: p.Marked}
	w.newKey = p.keys(w.rng, conn)
	payloads := make([]*Payload, p.Bodies)
	for i := range payloads {
		payloads[i] = p.build(w)
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

func (p Profile) build(w *writer) *Payload {
	out := &Payload{events: make([]span, p.Events)}
	body := []byte{'['}
	for i := range out.events {
		if i > 0 {
			body = append(body, ',')
		}
		from := len(body)
		// Bodies of one event take the events of an invocation in turn.
		body = w.next(body, i == 0 && p.Events > 1)
		out.events[i] = span{from, len(body)}
		if p.Marked {
			out.marks = append(out.marks, findMark(body, from, w.key))
		}
	}
	body = append(body, ']')
	head := "POST " + p.Path + " HTTP/1.1\r\nHost: ingest\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	out.Request = append([]byte(head), body...)
	out.Body = out.Request[len(head):]
	return out
}

// findMark finds the digits of the event that starts at from.
func findMark(body []byte, from, key int) mark {
	const idName, between = `"id":"`, `","seq":"`
	at := from + bytes.Index(body[from:], []byte(idName)) + len(idName)
	return mark{id: at, seq: at + idDigits + len(between), key: key}
}
