package fgsim

import (
	"encoding/json"
	"strings"
	"testing"

	"functiongraph-ingest/internal/simulator"
)

// recorded makes an account of some deliveries, all answered with status, and what a perfect receiver has.
func recorded(status int) (*Account, []Sighting) {
	a := NewAccount()
	g := simulator.New(simulator.Config{Seed: 5, Broken: 0.5, Concurrency: 5})
	var d simulator.Delivery
	var there []Sighting
	for range 30 {
		g.Next(&d)
		a.Posted(&d, status, 0)
		for i := range d.Events {
			e := &d.Events[i]
			there = append(there, Sighting{Key: e.Key, Value: append([]byte{}, d.Raw(e)...), DeadLetter: e.Broken != simulator.Intact})
		}
	}
	return a, there
}

// first finds an event with a key, and a later one with the same key.
func twins(there []Sighting) (i, j int) {
	for i := range there {
		for j := i + 1; j < len(there); j++ {
			if there[i].Key != "" && there[i].Key == there[j].Key {
				return i, j
			}
		}
	}
	panic("no key occurs twice")
}

func TestAccount(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		spoil  func(s []Sighting) []Sighting
		want   Verdict
	}{
		{"all is well", 200, func(s []Sighting) []Sighting { return s }, Verdict{}},
		{"lost", 200, func(s []Sighting) []Sighting { return s[1:] }, Verdict{Lost: 1}},
		{"doubled", 200, func(s []Sighting) []Sighting { return append(s, s[0]) }, Verdict{Doubled: 1}},
		{"open and not there", 0, func([]Sighting) []Sighting { return nil }, Verdict{}},
		{"open and there", 503, func(s []Sighting) []Sighting { return s }, Verdict{}},
		{"open and there twice", 503, func(s []Sighting) []Sighting { return append(s, s[0]) }, Verdict{Doubled: 1}},
		{"out of order", 200, func(s []Sighting) []Sighting {
			i, j := twins(s)
			s[i], s[j] = s[j], s[i]
			return s
		}, Verdict{OutOfOrder: 1}},
		{"another partition has an order of its own", 200, func(s []Sighting) []Sighting {
			i, j := twins(s)
			s[i], s[j] = s[j], s[i]
			s[i].Partition = 1
			return s
		}, Verdict{}},
		{"altered", 200, func(s []Sighting) []Sighting {
			i, _ := twins(s)
			s[i].Value = append(s[i].Value, ' ')
			return s
		}, Verdict{Altered: 1}},
		{"wrong key", 200, func(s []Sighting) []Sighting {
			i, _ := twins(s)
			s[i].Key = "x"
			return s
		}, Verdict{WrongKey: 1}},
		{"misplaced", 200, func(s []Sighting) []Sighting {
			i, _ := twins(s)
			s[i].DeadLetter = true
			return s
		}, Verdict{Misplaced: 1}},
		{"foreign", 200, func(s []Sighting) []Sighting {
			return append(s, Sighting{Value: []byte("{}")}, Sighting{Value: []byte("evt-ffffffffffffffff")})
		}, Verdict{Foreign: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, there := recorded(tt.status)
			for _, s := range tt.spoil(there) {
				a.Saw(s)
			}
			got := a.Verdict()
			err := got.Err()
			got.Posted, got.Acked, got.Seen, got.Details = 0, 0, 0, nil
			want := tt.want
			if g, w := verdictText(got), verdictText(want); g != w {
				t.Errorf("%s, want %s: %v", g, w, err)
			}
			if (err == nil) != (verdictText(want) == verdictText(Verdict{})) {
				t.Errorf("Err is %v", err)
			}
		})
	}
}

func verdictText(v Verdict) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func TestAccountCountsPostsWith200(t *testing.T) {
	a, there := recorded(503)
	if good, broken := a.Events(); good+broken != 0 {
		t.Errorf("%d and %d were refused", good, broken)
	}
	a, there2 := recorded(200)
	if good, broken := a.Events(); good+broken != len(there2) || broken == 0 || len(there) != len(there2) {
		t.Errorf("%d and %d of %d", good, broken, len(there2))
	}
}

func TestJournal(t *testing.T) {
	var b strings.Builder
	j := NewJournal(&b)
	g := simulator.New(simulator.Config{Seed: 1, Broken: 0.5})
	var d simulator.Delivery
	events := 0
	for range 20 {
		g.Next(&d)
		j.Posted(&d, 200, 0)
		events += len(d.Events)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != events || j.Err() != nil {
		t.Errorf("%d lines of %d events, %v", len(lines), events, j.Err())
	}
	for _, line := range lines {
		var l journalLine
		if err := json.Unmarshal([]byte(line), &l); err != nil || len(simulator.AppendIDs(nil, []byte(l.ID))) != 1 || l.Status != 200 {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// An extension may leave out its own lines, or else its log could feed itself.
func TestAccountDoesNotAskForOwnLines(t *testing.T) {
	a := NewAccount()
	g := simulator.New(simulator.Config{})
	var d simulator.Delivery
	g.Logs(&d, []string{"started", "stopped"})
	a.Posted(&d, 200, 0)
	a.Saw(Sighting{Value: d.Raw(&d.Events[0])})
	if v := a.Verdict(); v.OwnLeftOut != 1 || v.Err() != nil {
		t.Errorf("%+v", v)
	}
}
