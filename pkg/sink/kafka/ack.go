package kafka

import (
	"time"

	"functiongraph-ingest/pkg/sink"
)

// share is an Ack that waits for a batch, and how many of the batch's events are its own.
type share struct {
	ack    sink.Ack
	events int
	dead   bool // they came through DeadLetter
}

// settled is an Ack that is to be told, outside of the lock.
type settled struct {
	ack  sink.Ack
	lost int
	// hopeless are those of lost for which a resend would end the same; dead: they came through DeadLetter.
	hopeless int
	dead     bool
}

// finish settles one part of b, its parent's when that was the last, and so on up. The acks to tell are
// appended to out.
func (s *core) finish(b *batch, lost int, out []settled) []settled {
	hopeless := 0
	for b != nil {
		b.lost += lost
		b.hopeless += hopeless
		b.unsettledParts--
		if b.unsettledParts > 0 {
			return out
		}
		for _, a := range b.acks {
			out = append(out, settled{a.ack, min(a.events, b.lost), min(a.events, b.hopeless), a.dead})
		}
		lost, hopeless = b.lost, b.hopeless
		out = b.endsPart(lost, out)
		out = b.unpin(out)
		parent := b.parent
		if b.pos != 0 {
			s.frameEnds(b)
		} else if s.isCarried(b) {
			wake(s.disk.kick) // for the next frame
		}
		s.freeBatch(b)
		if s.deps.OpenSpool != nil {
			s.disk.movedAt = time.Now()
		}
		b = parent
	}
	return out
}

func (o *settled) tell() {
	if o.hopeless > 0 {
		if h, ok := o.ack.(sink.Hopeless); ok {
			h.Hopeless(o.hopeless, o.dead)
		}
	}
	o.ack.Settle(o.lost)
}

func tell(out []settled) {
	for i := range out {
		out[i].tell()
		out[i] = settled{}
	}
}

// later has the acks told by the next endFrames.
func (s *core) later(out []settled) {
	if len(out) > 0 {
		s.disk.out = append(s.disk.out, out...)
		s.unfinished.Store(true)
	}
}

// await notes that ack waits for events of b.
func (b *batch) await(ack sink.Ack, events int) {
	if ack == nil {
		return
	}
	n := len(b.acks)
	if n == 0 || b.acks[n-1].ack != ack {
		ack.Hold()
		b.acks = append(b.acks, share{ack, events, b.lane.topic.dead})
		return
	}
	b.acks[n-1].events += events
}

// takesPlaceOf makes a dead letter of records of b, which was refused or given up, a batch of its own: the sources that wait for b
// wait for it too. The frame that stands for b ends no sooner than it has one: what no topic takes now must not keep
// the partition of b.
func (d *batch) takesPlaceOf(b *batch) {
	whole := b.coverChildren()
	if whole == nil {
		whole = b.pinned()
	}
	for p := b; p != nil; p = p.parent {
		if whole == nil || whole.lane != d.lane { // else it tells them, for it stays as long as d
			for _, a := range p.acks {
				a.ack.Hold()
				d.acks = append(d.acks, a)
			}
		}
		if p.lowest != 0 && (d.lowest == 0 || p.lowest < d.lowest) {
			d.lowest = p.lowest
		}
	}
	d.pin(whole)
}

// pin makes the frame of whole stay until b has its own, or is settled; nil: there is none.
func (b *batch) pin(whole *batch) {
	if b.pins = whole; whole != nil {
		whole.unsettledParts++
	}
}

// pinned is the batch whose frame stays for b's sake; nil: there is none.
func (b *batch) pinned() *batch {
	for ; b != nil; b = b.parent {
		if b.pins != nil {
			return b.pins
		}
	}
	return nil
}

// unpin ends the part that d has in the batch whose frame stays for it: d has a frame of its own, or is settled.
func (d *batch) unpin(out []settled) []settled {
	b := d.pins
	if b == nil {
		return out
	}
	d.pins = nil
	return d.lane.topic.core.finish(b, 0, out)
}

// awaited reports whether a source still waits for b or for what it is a part of. An ack may tell that its source
// has given up.
func (b *batch) awaited() bool {
	for ; b != nil; b = b.parent {
		for _, a := range b.acks {
			if g, ok := a.ack.(interface{ GivenUp() bool }); !ok || !g.GivenUp() {
				return true
			}
		}
	}
	return false
}
