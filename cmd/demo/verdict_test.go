package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/simulator"
	"functiongraph-ingest/internal/term"
)

// flawless is the evidence of a run in which all went well: four good events, a dead letter, and a line of
// ingest's own that was left out. A body of three events was refused once.
func flawless() *evidence {
	ev := &evidence{
		report:  &fgsim.Report{},
		account: fgsim.Verdict{Posted: 6, Acked: 6, Seen: 5, OwnLeftOut: 1},
		traffic: trafficStats{events: 6, good: 5, dead: 1, bodies: 2, refusals: 1, open: 3},
		ledger:  &ledger.Ledger{Admitted: 5, Delivered: 4, DeadLettered: 1, OwnLines: 1, Idempotent: true},
	}
	ev.consumed.sightings = []fgsim.Sighting{{DeadLetter: true}, {}, {}, {}, {}}
	return ev
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(ev *evidence)
		want  []string // beginnings of the differences
	}{
		{"all is well", func(*evidence) {}, nil},
		{"an event is lost", func(ev *evidence) { ev.account.Lost, ev.account.Details = 1, []string{"lost: evt"} },
			[]string{"events acknowledged and not consumed: 1", "lost: evt"}},
		{"an event is doubled", func(ev *evidence) { ev.account.Doubled = 1 }, []string{"events consumed again: 1"}},
		{"the wrong topic", func(ev *evidence) { ev.account.Misplaced = 1 }, []string{"events consumed from the wrong topic: 1"}},
		{"other bytes", func(ev *evidence) { ev.account.Altered = 1 }, []string{"events consumed with other bytes: 1"}},
		{"another key", func(ev *evidence) { ev.account.WrongKey = 1 }, []string{"events consumed with another key: 1"}},
		{"never posted", func(ev *evidence) { ev.account.Foreign = 1 }, []string{"events consumed and never posted: 1"}},
		{"out of order", func(ev *evidence) { ev.account.OutOfOrder = 1 }, []string{"events that come after later ones of the same key: 1"}},
		{"nothing posted", func(ev *evidence) { ev.account.Acked = 0 }, []string{"nothing was posted"}},
		{"a gap", func(ev *evidence) { ev.consumed.odd, ev.consumed.oddities = 1, []string{"x"} },
			[]string{`the consumer met 1 oddities: ["x"]`}},
		{"a violation", func(ev *evidence) { ev.report.Violations = []fgsim.Violation{{Code: "died", Text: "early", Count: 1}} },
			[]string{"platform: died (1 times): early"}},
		{"refused for good", func(ev *evidence) { ev.report.Posts.Lost = 2 }, []string{"platform: 2 events were never answered 200"}},
		{"exit code", func(ev *evidence) { ev.report.Exit.Code = 3 }, []string{"ingest ended with exit code 3"}},
		{"no ledger", func(ev *evidence) { ev.ledger = nil }, []string{"ingest left no ledger as its last line"}},
		{"not balanced on the way", func(ev *evidence) { ev.looks = looks{9, 2} }, []string{"ledger: it did not add up at 2 of 9 looks"}},
		{"a problem on the way", func(ev *evidence) { ev.problems = []string{"100% late"} }, []string{"100% late"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ev := flawless()
			tt.spoil(ev)
			expect(t, judge(ev), tt.want)
		})
	}
}

func TestVerdictOnTheLedger(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(l *ledger.Ledger)
		want  []string
	}{
		"too few":                             {func(l *ledger.Ledger) { l.Admitted-- }, []string{"ledger: admitted and own lines are 5, want 6", "ledger: out of balance by -1"}},
		"too many":                            {func(l *ledger.Ledger) { l.Admitted += 4 }, []string{"ledger: admitted and own lines are 10, want 6", "ledger: out of balance by 4"}},
		"refused and taken, but not consumed": {func(l *ledger.Ledger) { l.Admitted++ }, []string{"ledger: out of balance by 1"}},
		"own lines":                           {func(l *ledger.Ledger) { l.OwnLines-- }, []string{"ledger: admitted and own lines are 5, want 6"}},
		"delivered":                           {func(l *ledger.Ledger) { l.Delivered-- }, []string{"ledger: delivered is 3, want 4", "ledger: out of balance by 1"}},
		"deadLettered":                        {func(l *ledger.Ledger) { l.DeadLettered++ }, []string{"ledger: deadLettered is 2, want 1", "ledger: out of balance by -1"}},
		"balanced, but wrong": {func(l *ledger.Ledger) { l.Delivered--; l.DeadLettered++ },
			[]string{"ledger: delivered is 3, want 4", "ledger: deadLettered is 2, want 1"}},
		"dropped": {func(l *ledger.Ledger) { l.Delivered--; l.Dropped = ledger.Reasons{"shutdown": 1} },
			[]string{"ledger: delivered is 3, want 4", "ledger: dropped is 1, want 0"}},
		"inFlight":  {func(l *ledger.Ledger) { l.InFlight++ }, []string{"ledger: inFlight is 1, want 0", "ledger: out of balance by -1"}},
		"recovered": {func(l *ledger.Ledger) { l.Recovered++; l.Spooled++ }, []string{"ledger: recovered is 1, want 0", "ledger: spooled is 1, want 0"}},
		"setAside":  {func(l *ledger.Ledger) { l.SetAside++ }, []string{"ledger: setAside is 1, want 0", "ledger: out of balance by -1"}},
	} {
		t.Run(name, func(t *testing.T) {
			ev := flawless()
			tt.spoil(ev.ledger)
			expect(t, judge(ev), tt.want)
		})
	}
}

func expect(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("differences %q, want %q", got, want)
	}
}

func TestSummaryTellsTheVerdict(t *testing.T) {
	ev := &finished{evidence: *flawless()}
	ev.looks, ev.spooled, ev.frozen = looks{all: 7}, 9, true
	ev.traffic.broken = map[simulator.Breakage]int64{simulator.NotJSON: 7}
	lines := summary(term.Colors{}, ev, nil)
	good := strings.Join(lines, "\n")
	if n := strings.Count(good, "\n") + 1; n > 23 {
		t.Errorf("%d lines do not fit into a terminal", n)
	}
	for line := range strings.Lines(good) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d cells: %q", n, line)
		}
	}
	for _, want := range []string{"5 good, 1 broken", "not JSON 7", "admitted 5 = delivered 4 + dead letters 1", "added up at 7 of 7 looks; own lines left out 1", "at most 9 events on disk, 0 at the end", "✔ every event is accounted for"} {
		if !strings.Contains(good, want) {
			t.Errorf("no %q in\n%s", want, good)
		}
	}
	ev.ledger.Dropped = maps.Clone(ledger.Reasons{"shutdown": 2})
	bad := strings.Join(summary(term.Colors{}, ev, []string{"this", "that"}), "\n")
	for _, want := range []string{"+ dropped 2", "✘ not every event is accounted for\n   • this\n   • that"} {
		if !strings.Contains(bad, want) {
			t.Errorf("no %q in\n%s", want, bad)
		}
	}
	if strings.Contains(bad, "✔") {
		t.Error("both verdicts")
	}
}
