// Package oracle judges whether a service that takes telemetry kept its word. It gives every event a
// unique id and a sequence number within its key, remembers how each body was answered, and compares
// that with what a consumer read.
//
// An answer of 200 is an obligation: the event must be there. 503 and every 4xx say that nothing of the
// body was taken. Any other answer, and none at all, leaves the outcome open: the event may be there
// once for each such post, and at its place in the order.
package oracle

import (
	"hash/maphash"
	"sync/atomic"

	"functiongraph-ingest/bench/load"
)

// Oracle is a [load.Recorder]. Judge may be called when the load has ended; a further load can be
// recorded and judged with it afterwards.
type Oracle struct {
	seed  maphash.Seed
	next  atomic.Uint64 // the next free id
	conns []conn        // each is touched by its connection only
}

// conn is what one connection has sent.
type conn struct {
	bodies []body
	seqs   []uint64 // next sequence number by key
}

type body struct {
	firstID uint64
	events  []event
	acked   bool
	refused bool   // at least once
	open    uint16 // posts with an open outcome
}

type event struct {
	hash uint64
	seq  uint32
	key  uint32
}

// New returns an oracle for a load over at most conns connections.
func New(conns int) *Oracle {
	return &Oracle{seed: maphash.MakeSeed(), conns: make([]conn, conns)}
}

// Stamp implements [load.Recorder].
func (o *Oracle) Stamp(connection int, p *load.Payload) {
	c := &o.conns[connection]
	n := p.Events()
	b := body{firstID: o.next.Add(uint64(n)) - uint64(n), events: make([]event, n)}
	for i := range b.events {
		key := p.Key(i)
		for len(c.seqs) <= key {
			c.seqs = append(c.seqs, 0)
		}
		seq := c.seqs[key]
		c.seqs[key]++
		p.Mark(i, b.firstID+uint64(i), seq)
		b.events[i] = event{hash: maphash.Bytes(o.seed, p.Event(i)), seq: uint32(seq), key: uint32(key)}
	}
	c.bodies = append(c.bodies, b)
}

// Posted implements [load.Recorder].
func (o *Oracle) Posted(connection int, _ *load.Payload, status int) {
	c := &o.conns[connection]
	b := &c.bodies[len(c.bodies)-1]
	switch {
	case status == 200:
		b.acked = true
	case status == 503 || status >= 400 && status < 500:
		b.refused = true
	default:
		b.open++
	}
}

// sent reports whether the body was posted at least once.
func (b *body) sent() bool { return b.acked || b.refused || b.open > 0 }

// allowed is how often an event of the body may be delivered.
func (b *body) allowed() int {
	n := int(b.open)
	if b.acked {
		n++
	}
	return n
}
