package main

import (
	"fmt"
	"slices"

	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/simulator"
)

// evidence is all there is to judge by.
type evidence struct {
	posted   []posted
	traffic  trafficStats
	consumed consumed
	ledger   *ledger.Ledger // of ingest's last line; nil when there was none
	exitCode int            // of ingest
	problems []string       // what went wrong on the way, if anything
}

// judge returns what differs from: everything posted was consumed exactly once, unchanged, from its topic,
// in the order of its key, and the ledger says so. Nothing at all differs when all is well.
func judge(ev *evidence) []string {
	v := &verdict{differences: slices.Clone(ev.problems)}
	v.answers(&ev.traffic)
	v.events(ev)
	v.order(ev.consumed.sightings)
	v.books(ev)
	return v.differences
}

type verdict struct{ differences []string }

func (v *verdict) add(format string, args ...any) {
	v.differences = append(v.differences, fmt.Sprintf(format, args...))
}

// tally counts events with the same fault, and remembers the first of them.
type tally struct {
	n     int
	first simulator.ID
}

func (t *tally) add(id simulator.ID) {
	if t.n == 0 {
		t.first = id
	}
	t.n++
}

func (v *verdict) tell(t tally, what string) {
	if t.n > 0 {
		v.add("events %s: %d, the first is %s", what, t.n, t.first)
	}
}

func (v *verdict) answers(s *trafficStats) {
	if s.unanswered > 0 {
		v.add("%d bodies without a proper answer, one of them: %s", s.unanswered, s.oddity)
	}
	if s.gaveUp > 0 {
		v.add("%d bodies refused %d times", s.gaveUp, maxTries)
	}
	if s.wrongAnswers > 0 {
		v.add("%d answers with wrong counts, one of them: %s", s.wrongAnswers, s.oddity)
	}
}

// events compares what was posted with what was consumed, event by event.
func (v *verdict) events(ev *evidence) {
	type fate struct {
		posted
		seen bool
	}
	fates := make(map[simulator.ID]*fate, len(ev.posted))
	for _, p := range ev.posted {
		fates[p.id] = &fate{posted: p}
	}
	var unknown, twice, elsewhere, changed, lost tally
	for _, s := range ev.consumed.sightings {
		f := fates[s.id]
		switch {
		case f == nil:
			unknown.add(s.id)
			continue
		case f.seen:
			twice.add(s.id)
			continue
		case f.dead != s.dead:
			elsewhere.add(s.id)
		case f.sum != s.sum:
			changed.add(s.id)
		}
		f.seen = true
	}
	for _, p := range ev.posted { // in the order of posting, so that the first lost one is the first
		if !fates[p.id].seen {
			lost.add(p.id)
		}
	}
	v.tell(lost, "acknowledged and not consumed")
	v.tell(twice, "consumed again")
	v.tell(elsewhere, "consumed from the wrong topic")
	v.tell(changed, "consumed with another key or other bytes")
	v.tell(unknown, "consumed and never acknowledged")
	if c := &ev.consumed; c.odd > 0 {
		v.add("the consumer met %d oddities: %q", c.odd, c.oddities)
	}
}

// order checks that the events of one key are in one partition, in the order in which they were posted.
func (v *verdict) order(sightings []sighting) {
	last := map[uint64]sighting{}
	var moved, late tally
	for _, s := range sightings {
		if s.key == 0 || s.dead {
			continue
		}
		if l, ok := last[s.key]; ok {
			if l.partition != s.partition {
				moved.add(s.id)
			}
			if l.id > s.id {
				late.add(s.id)
			}
		}
		last[s.key] = s
	}
	v.tell(moved, "in another partition than the one before with the same key")
	v.tell(late, "that come after later ones of the same key")
}

// books compares the ledger with what was posted.
func (v *verdict) books(ev *evidence) {
	if ev.exitCode != 0 {
		v.add("ingest ended with exit code %d", ev.exitCode)
	}
	l := ev.ledger
	if l == nil {
		v.add("ingest left no ledger as its last line")
		return
	}
	var good, dead int64
	for _, p := range ev.posted {
		if p.dead {
			dead++
		} else {
			good++
		}
	}
	for _, term := range []struct {
		name      string
		got, want int64
	}{
		{"admitted", l.Admitted, good + dead},
		{"recovered", l.Recovered, 0},
		{"delivered", l.Delivered, good},
		{"deadLettered", l.DeadLettered, dead},
		{"setAside", l.SetAside, 0},
		{"spooled", l.Spooled, 0},
		{"inFlight", l.InFlight, 0},
		{"dropped", l.Dropped.Sum(), 0},
		{"bodies admitted", l.Bodies.Admitted, ev.traffic.bodies},
		{"bodies refused", l.Bodies.Refused.Sum(), ev.traffic.refusals},
	} {
		if term.got != term.want {
			v.add("ledger: %s is %d, want %d", term.name, term.got, term.want)
		}
	}
	if !l.Balanced() {
		v.add("ledger: out of balance by %d", l.Missing())
	}
}
