package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/simulator"
)

// flawless is the evidence of a run in which all went well: four good events, two of them of one key, and a
// dead letter.
func flawless() *evidence {
	a, b := sumOf([]byte("a"), nil), sumOf([]byte("b"), nil)
	ev := &evidence{
		posted:  []posted{{id: 1, sum: 11}, {id: 2, sum: 12}, {id: 3, sum: 13, dead: true}, {id: 4, sum: 14}, {id: 5, sum: 15}},
		traffic: trafficStats{events: 5, bodies: 2, refusals: 1},
		ledger:  &ledger.Ledger{Admitted: 5, Delivered: 4, DeadLettered: 1, Idempotent: true},
	}
	ev.ledger.Bodies = ledger.Bodies{Admitted: 2, Refused: ledger.Reasons{"full": 1}}
	ev.consumed.sightings = []sighting{
		{id: 3, sum: 13, dead: true},
		{id: 1, sum: 11, key: a, partition: 1},
		{id: 4, sum: 14, key: b, partition: 2},
		{id: 2, sum: 12, key: a, partition: 1},
		{id: 5, sum: 15, partition: 3},
	}
	return ev
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(ev *evidence)
		want  []string // beginnings of the differences
	}{
		{"all is well", func(*evidence) {}, nil},
		{"an event is lost", func(ev *evidence) { ev.consumed.sightings = ev.consumed.sightings[:4] },
			[]string{"events acknowledged and not consumed: 1, the first is evt-0000000000000005"}},
		{"a dead letter is lost", func(ev *evidence) { ev.consumed.sightings = ev.consumed.sightings[1:] },
			[]string{"events acknowledged and not consumed: 1, the first is evt-0000000000000003"}},
		{"an event is doubled", func(ev *evidence) {
			ev.consumed.sightings = append(ev.consumed.sightings, ev.consumed.sightings[4])
		}, []string{"events consumed again: 1, the first is evt-0000000000000005"}},
		{"an event is lost and another one doubled", func(ev *evidence) { ev.consumed.sightings[4] = ev.consumed.sightings[2] },
			[]string{"events acknowledged and not consumed: 1", "events consumed again: 1"}},
		{"a good event is among the dead letters", func(ev *evidence) { ev.consumed.sightings[4].dead = true },
			[]string{"events consumed from the wrong topic: 1"}},
		{"a dead letter is among the good ones", func(ev *evidence) { ev.consumed.sightings[0].dead = false },
			[]string{"events consumed from the wrong topic: 1"}},
		{"other bytes", func(ev *evidence) { ev.consumed.sightings[4].sum++ },
			[]string{"events consumed with another key or other bytes: 1"}},
		{"never posted", func(ev *evidence) { ev.consumed.sightings = append(ev.consumed.sightings, sighting{id: 9}) },
			[]string{"events consumed and never acknowledged: 1, the first is evt-0000000000000009"}},
		{"out of order", func(ev *evidence) {
			s := ev.consumed.sightings
			s[1], s[3] = s[3], s[1]
		}, []string{"events that come after later ones of the same key: 1, the first is evt-0000000000000001"}},
		{"a key in two partitions", func(ev *evidence) { ev.consumed.sightings[3].partition = 2 },
			[]string{"events in another partition than the one before with the same key: 1"}},
		{"a record that is no event of ours", func(ev *evidence) { ev.consumed.odd, ev.consumed.oddities = 1, []string{"x"} },
			[]string{`the consumer met 1 oddities: ["x"]`}},
		{"no answer", func(ev *evidence) { ev.traffic.unanswered, ev.traffic.oddity = 1, "status 0" },
			[]string{"1 bodies without a proper answer, one of them: status 0"}},
		{"refused for good", func(ev *evidence) { ev.traffic.gaveUp = 1 }, []string{"1 bodies refused 5 times"}},
		{"wrong answer", func(ev *evidence) { ev.traffic.wrongAnswers = 2 }, []string{"2 answers with wrong counts"}},
		{"exit code", func(ev *evidence) { ev.exitCode = 3 }, []string{"ingest ended with exit code 3"}},
		{"no ledger", func(ev *evidence) { ev.ledger = nil }, []string{"ingest left no ledger as its last line"}},
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
		"admitted":     {func(l *ledger.Ledger) { l.Admitted++ }, []string{"ledger: admitted is 6, want 5", "ledger: out of balance by 1"}},
		"delivered":    {func(l *ledger.Ledger) { l.Delivered-- }, []string{"ledger: delivered is 3, want 4", "ledger: out of balance by 1"}},
		"deadLettered": {func(l *ledger.Ledger) { l.DeadLettered++ }, []string{"ledger: deadLettered is 2, want 1", "ledger: out of balance by -1"}},
		"balanced, but wrong": {func(l *ledger.Ledger) { l.Delivered--; l.DeadLettered++ },
			[]string{"ledger: delivered is 3, want 4", "ledger: deadLettered is 2, want 1"}},
		"dropped": {func(l *ledger.Ledger) { l.Delivered--; l.Dropped = ledger.Reasons{"shutdown": 1} },
			[]string{"ledger: delivered is 3, want 4", "ledger: dropped is 1, want 0"}},
		"inFlight":  {func(l *ledger.Ledger) { l.InFlight++ }, []string{"ledger: inFlight is 1, want 0", "ledger: out of balance by -1"}},
		"recovered": {func(l *ledger.Ledger) { l.Recovered++; l.Spooled++ }, []string{"ledger: recovered is 1, want 0", "ledger: spooled is 1, want 0"}},
		"setAside":  {func(l *ledger.Ledger) { l.SetAside++ }, []string{"ledger: setAside is 1, want 0", "ledger: out of balance by -1"}},
		"bodies": {func(l *ledger.Ledger) { l.Bodies.Admitted++; l.Bodies.Refused = nil },
			[]string{"ledger: bodies admitted is 3, want 2", "ledger: bodies refused is 0, want 1"}},
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
	ev.traffic.broken = map[simulator.Breakage]int64{simulator.NotJSON: 7}
	good := strings.Join(summary(colors{}, ev, nil), "\n")
	for _, want := range []string{"4 good, 1 broken", "not JSON 7", "admitted 5 = delivered 4 + dead letters 1", "✔ every event is accounted for"} {
		if !strings.Contains(good, want) {
			t.Errorf("no %q in\n%s", want, good)
		}
	}
	ev.ledger.Dropped = maps.Clone(ledger.Reasons{"shutdown": 2})
	bad := strings.Join(summary(colors{}, ev, []string{"this", "that"}), "\n")
	for _, want := range []string{"+ dropped 2", "✘ not every event is accounted for\n   • this\n   • that"} {
		if !strings.Contains(bad, want) {
			t.Errorf("no %q in\n%s", want, bad)
		}
	}
	if strings.Contains(bad, "✔") {
		t.Error("both verdicts")
	}
}
