package main

import (
	"fmt"
	"slices"

	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/internal/ledger"
)

// evidence is all there is to judge by.
type evidence struct {
	report   *fgsim.Report // of the simulated platform
	account  fgsim.Verdict // on what was posted and what was consumed
	traffic  trafficStats
	consumed consumed
	ledger   *ledger.Ledger // of ingest's last line; nil when there was none
	looks    looks          // at the ledger, on the way
	spooled  int64          // events on disk at most
	frozen   bool           // the broker was
	problems []string       // what went wrong on the way, if anything
}

// judge returns what differs from: everything answered 200 was consumed exactly once, unchanged, from its
// topic, in the order of its key, the platform found nothing amiss, and the ledger says the same. Nothing at
// all differs when all is well.
func judge(ev *evidence) []string {
	v := &verdict{differences: slices.Clone(ev.problems)}
	v.platform(ev.report)
	v.events(ev)
	v.books(ev)
	return v.differences
}

type verdict struct{ differences []string }

func (v *verdict) add(format string, args ...any) {
	v.differences = append(v.differences, fmt.Sprintf(format, args...))
}

func (v *verdict) platform(r *fgsim.Report) {
	for _, found := range r.Violations {
		v.add("platform: %s (%d times): %s", found.Code, found.Count, found.Text)
	}
	if r.Posts.Lost > 0 {
		v.add("platform: %d events were never answered 200", r.Posts.Lost)
	}
	if r.Exit.Code != 0 {
		v.add("ingest ended with exit code %d", r.Exit.Code)
	}
}

// events tells how what was consumed differs from what was posted.
func (v *verdict) events(ev *evidence) {
	a := &ev.account
	if a.Acked == 0 {
		v.add("nothing was posted and answered 200")
	}
	for _, fault := range []struct {
		n    int
		what string
	}{
		{a.Lost, "acknowledged and not consumed"},
		{a.Doubled, "consumed again"},
		{a.OutOfOrder, "that come after later ones of the same key"},
		{a.Altered, "consumed with other bytes"},
		{a.WrongKey, "consumed with another key"},
		{a.Misplaced, "consumed from the wrong topic"},
		{a.Foreign, "consumed and never posted"},
	} {
		if fault.n > 0 {
			v.add("events %s: %d", fault.what, fault.n)
		}
	}
	v.differences = append(v.differences, a.Details...)
	if c := &ev.consumed; c.odd > 0 {
		v.add("the consumer met %d oddities: %q", c.odd, c.oddities)
	}
}

// books compares the ledger with what was posted and with what was consumed.
func (v *verdict) books(ev *evidence) {
	l := ev.ledger
	if l == nil {
		v.add("ingest left no ledger as its last line")
		return
	}
	// Its own lines are not admitted. What was not answered 200 may have been.
	s := &ev.traffic
	if in := l.Admitted + l.OwnLines; in < s.events || in > s.events+s.open {
		v.add("ledger: admitted and own lines are %d, want %d and up to %d more", in, s.events, s.open)
	}
	var dead int64
	for i := range ev.consumed.sightings {
		if ev.consumed.sightings[i].DeadLetter {
			dead++
		}
	}
	for _, term := range []struct {
		name      string
		got, want int64
	}{
		{"recovered", l.Recovered, 0},
		{"delivered", l.Delivered, int64(len(ev.consumed.sightings)) - dead},
		{"deadLettered", l.DeadLettered, dead},
		{"setAside", l.SetAside, 0},
		{"spooled", l.Spooled, 0},
		{"inFlight", l.InFlight, 0},
		{"dropped", l.Dropped.Sum(), 0},
	} {
		if term.got != term.want {
			v.add("ledger: %s is %d, want %d", term.name, term.got, term.want)
		}
	}
	if n := ev.looks.unbalanced; n > 0 {
		v.add("ledger: it did not add up at %d of %d looks", n, ev.looks.all)
	}
	if !l.Balanced() {
		v.add("ledger: out of balance by %d", l.Missing())
	}
}
