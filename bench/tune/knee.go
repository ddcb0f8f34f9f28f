package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"functiongraph-ingest/bench/suite"
)

// trial is what one value of one setting reached in one profile.
type trial struct {
	Profile string `json:"profile"`
	Flag    string `json:"flag"`
	Value   string `json:"value"`
	Default bool   `json:"default"`
	Commit  string `json:"commit"`
	Trial   string `json:"trial"` // length of one

	Runs       []float64 `json:"sustainedByRun,omitempty"` // when there were several; what follows are medians then
	Sustained  float64   `json:"sustainedEventsPerSecond"`
	P99        float64   `json:"p99MillisAtHalf"`
	CostMicros float64   `json:"cpuMicrosPerEventAtHalf"`
	Goodput    float64   `json:"goodputAtTwice"` // as a share of Sustained
	RefusedP99 float64   `json:"refusedP99MillisAtTwice"`
	PeakRSS    int64     `json:"peakRSSBytes"`
	Problem    string    `json:"problem,omitempty"`
}

func newTrial(p *profile, s *setting, value string, rows []*suite.Row) *trial {
	t := &trial{Profile: p.Name, Flag: s.flag, Value: value, Default: value == s.initial}
	for _, w := range rows {
		if w.Problem != "" {
			t.Problem = w.Problem
		}
		t.PeakRSS = max(t.PeakRSS, w.PeakRSS)
		switch w.Load {
		case "sustained":
			t.Sustained = w.EventsPerSec
		case "half":
			t.P99 = w.P99
			if w.EventsPerCPU > 0 {
				t.CostMicros = 1e6 / w.EventsPerCPU
			}
		case "twice":
			if t.Sustained > 0 {
				t.Goodput = w.EventsPerSec / t.Sustained
			}
			t.RefusedP99 = w.RefusedP99
		}
	}
	return t
}

// noise: what differs by less is the same. Two runs of one value may differ by more, hence sweep.
const noise = 0.10

// knee chooses among the values of one setting in one profile. The default stays unless another value sustains
// noticeably more; of those that are as good as the best, the first in the list, which is ordered by what it
// takes, is enough.
func knee(trials []*trial) *trial {
	var best, initial *trial
	for _, t := range trials {
		if t.Problem != "" {
			continue
		}
		if best == nil || t.Sustained > best.Sustained {
			best = t
		}
		if t.Default {
			initial = t
		}
	}
	if best == nil {
		return nil
	}
	if initial != nil && initial.Sustained >= best.Sustained*(1-noise) {
		return initial
	}
	for _, t := range trials {
		if t.Problem == "" && t.Sustained >= best.Sustained*(1-noise) {
			return t
		}
	}
	return best
}

// mostRuns is how often a value is measured at most.
const mostRuns = 3

// sweep measures all values, and then, as long as another one than the default would be recommended, those two
// again in turn: a single run that was disturbed recommends nothing.
func (s *setting) sweep(measure func(value string) (*trial, error)) (trials []*trial, err error) {
	runs := map[string][]*trial{}
	again := func(value string) error {
		t, err := measure(value)
		if err == nil {
			runs[value] = append(runs[value], t)
		}
		return err
	}
	for _, v := range s.values {
		if err := again(v); err != nil {
			return nil, err
		}
	}
	for {
		trials = trials[:0]
		for _, v := range s.values {
			trials = append(trials, together(runs[v]))
		}
		best := knee(trials)
		if best == nil || best.Default || trades(s.flag) || len(runs[best.Value]) == mostRuns {
			return trials, nil
		}
		for _, v := range []string{s.initial, best.Value} {
			if len(runs[v]) < mostRuns {
				if err := again(v); err != nil {
					return nil, err
				}
			}
		}
	}
}

// together is one value's runs: the medians, the highest memory, any problem.
func together(runs []*trial) *trial {
	t := *runs[0]
	if len(runs) == 1 {
		return &t
	}
	median := func(of func(*trial) float64) float64 {
		var all []float64
		for _, r := range runs {
			all = append(all, of(r))
		}
		slices.Sort(all)
		return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
	}
	t.Runs = nil
	for _, r := range runs {
		t.Runs = append(t.Runs, r.Sustained)
		t.PeakRSS = max(t.PeakRSS, r.PeakRSS)
		if r.Problem != "" {
			t.Problem = r.Problem
		}
	}
	t.Sustained = median(func(t *trial) float64 { return t.Sustained })
	t.P99 = median(func(t *trial) float64 { return t.P99 })
	t.CostMicros = median(func(t *trial) float64 { return t.CostMicros })
	t.Goodput = median(func(t *trial) float64 { return t.Goodput })
	t.RefusedP99 = median(func(t *trial) float64 { return t.RefusedP99 })
	return &t
}

// trades says that a setting buys something that is not in the table, so the table has no knee: codecs save network and
// disk.
func trades(flag string) bool { return flag == "codec" }

// writeTables writes a table per profile, a row per value; the knee of each setting is bold.
func writeTables(w io.Writer, all []*trial) error {
	var b strings.Builder
	for _, p := range profiles() {
		var of []*trial
		for _, t := range all {
			if t.Profile == p.Name {
				of = append(of, t)
			}
		}
		if len(of) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s: %s\n\n`%s`, %d connections, bodies of 100 events.\n\n", p.Name, p.Title, strings.Join(p.Args, " "), p.Conns)
		b.WriteString("| setting | value | highest sustained events/s | at half of it: p99 ms | CPU us per event | at twice: goodput | refusal p99 ms | peak RSS MB |\n|---|---|---|---|---|---|---|---|\n")
		for len(of) > 0 {
			n := 1
			for n < len(of) && of[n].Flag == of[0].Flag {
				n++
			}
			chosen := knee(of[:n])
			if trades(of[0].Flag) {
				chosen = nil
			}
			for _, t := range of[:n] {
				t.write(&b, t == chosen)
			}
			of = of[n:]
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *trial) write(b *strings.Builder, chosen bool) {
	value := t.Value
	if n := len(t.Runs); n > 0 {
		value += fmt.Sprintf(", %d runs", n)
	}
	if t.Default {
		value += " (default)"
	}
	if chosen {
		value = "**" + value + "**"
	}
	if t.Problem != "" {
		fmt.Fprintf(b, "| `--%s` | %s | %s | | | | | |\n", t.Flag, value, t.Problem)
		return
	}
	fmt.Fprintf(b, "| `--%s` | %s | %.0f | %.1f | %.2f | %.0f %% | %.1f | %.0f |\n",
		t.Flag, value, t.Sustained, t.P99, t.CostMicros, 100*t.Goodput, t.RefusedP99, float64(t.PeakRSS)/1e6)
}
