package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/bench/suite"
)

func TestKnee(t *testing.T) {
	values := func(sustained ...float64) (all []*trial) {
		for i, s := range sustained {
			all = append(all, &trial{Value: string(rune('a' + i)), Sustained: s, Default: i == 2})
		}
		return all
	}
	for want, trials := range map[string][]*trial{
		"c": values(50, 80, 100, 105), // within the noise the default stays
		"b": values(50, 95, 60, 100),  // it is far off: the first that is as good as the best
		"d": values(10, 20, 30, 100),
	} {
		if got := knee(trials); got.Value != want {
			t.Errorf("%s, want %s", got.Value, want)
		}
	}
	broken := values(1)
	broken[0].Problem = "lost"
	if knee(broken) != nil {
		t.Error("a value that loses events is recommended")
	}
}

// A value that won once, because the default was disturbed, is measured again beside it; one that wins each time is
// recommended.
func TestWhoWinsOnceIsMeasuredAgain(t *testing.T) {
	s := setting{flag: "x", values: []string{"1", "2", "3"}, initial: "2"}
	for want, runs := range map[string]map[string][]float64{
		"2": {"1": {50}, "2": {60, 100, 98}, "3": {97, 99, 96}},
		"3": {"1": {50}, "2": {60, 61, 59}, "3": {97, 99, 96}},
	} {
		trials, err := s.sweep(func(v string) (*trial, error) {
			if len(runs[v]) == 0 {
				t.Fatalf("%s is measured too often", v)
			}
			r := &trial{Value: v, Default: v == s.initial, Sustained: runs[v][0]}
			runs[v] = runs[v][1:]
			return r, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := knee(trials).Value; got != want {
			t.Errorf("%s is recommended, want %s", got, want)
		}
		if len(trials) != 3 || trials[0].Runs != nil || len(trials[2].Runs) < 2 {
			t.Errorf("%+v", trials[2])
		}
	}
}

func TestSettingsNameTheirDefault(t *testing.T) {
	for _, s := range settings() {
		n := 0
		for _, v := range s.values {
			if v == s.initial {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s: the default is %d times among the values", s.flag, n)
		}
	}
}

func TestDocument(t *testing.T) {
	p, s := profiles()[0], settings()[0]
	e := &evidence{Trials: []*trial{
		newTrial(&p, &s, "16", []*suite.Row{
			{Load: "sustained", EventsPerSec: 100, PeakRSS: 2e6}, {Load: "half", P99: 3, EventsPerCPU: 5e5}, {Load: "twice", EventsPerSec: 90, RefusedP99: 1},
		}),
		{Profile: p.Name, Flag: s.flag, Value: "64", Problem: "does not fit"},
	}}
	file := filepath.Join(t.TempDir(), "tuning.md")
	if err := os.WriteFile(file, []byte("before\n"+beginMark+"old\n"+endMark+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again and again
		if err := e.document(file); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile(file)
	text := string(b)
	if !strings.HasPrefix(text, "before\n") || !strings.HasSuffix(text, "after\n") || strings.Contains(text, "old") ||
		!strings.Contains(text, "| `--ring-items` | **16** | 100 | 3.0 | 2.00 | 90 % | 1.0 | 2 |") || !strings.Contains(text, "does not fit") {
		t.Error(text)
	}
}

// TestMerge: a run of one setting keeps what is known of the others, and replaces its own.
func TestMerge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tuning.json")
	first := &evidence{Trials: []*trial{
		{Profile: "server", Flag: "codec", Value: "none", Sustained: 1}, {Profile: "small", Flag: "codec", Value: "none", Sustained: 2},
	}}
	if err := first.merge(file); err != nil {
		t.Fatal(err)
	}
	if err := first.write(file); err != nil {
		t.Fatal(err)
	}
	second := &evidence{Trials: []*trial{{Profile: "server", Flag: "codec", Value: "none", Sustained: 3}}}
	if err := second.merge(file); err != nil {
		t.Fatal(err)
	}
	if n := second.Trials; len(n) != 2 || n[0].Profile != "small" || n[1].Sustained != 3 {
		t.Errorf("%+v", n)
	}
}
