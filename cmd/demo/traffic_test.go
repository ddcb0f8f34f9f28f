package main

import (
	"testing"
	"time"

	"functiongraph-ingest/internal/simulator"
)

func TestTrafficCountsPosts(t *testing.T) {
	tr := newTraffic()
	g := simulator.New(simulator.Config{Broken: 0.5})
	var d simulator.Delivery
	var good, dead, open int64
	for i := range 90 {
		g.Next(&d)
		status := []int{200, 503, 0}[i%3]
		tr.Posted(&d, status, time.Duration(i)*time.Millisecond)
		if status != 200 {
			open += int64(len(d.Events))
			continue
		}
		a, b := d.Count()
		good, dead = good+int64(a), dead+int64(b)
	}
	recent, hist := tr.look()
	s, total := tr.end()
	if s.bodies != 30 || s.refusals != 30 || s.unanswered != 30 || s.good != good || s.dead != dead || dead == 0 || s.open != open || s.events != good+dead {
		t.Errorf("%+v, want %d good, %d dead, %d open", s, good, dead, open)
	}
	if recent.bodies != s.bodies || hist.Max() != total.Max() || total.Max() < 80*time.Millisecond {
		t.Errorf("%+v, at most %v, %v", recent, hist.Max(), total.Max())
	}
	if _, hist := tr.look(); hist.Max() != 0 {
		t.Error("the second look sees what the first one saw")
	}
	if v := tr.account.Verdict(); v.Posted == 0 || int64(v.Acked) != s.events {
		t.Errorf("account %+v", v)
	}
}
