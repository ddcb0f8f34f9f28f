package suite

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"functiongraph-ingest/bench/load"
)

// Summary is one row per target and load: the median of each figure over the rounds, the highest peak of
// memory, the sum of what was refused.
func (r *Result) Summary() (rows []*Row) {
	for _, t := range r.Scenario.Targets {
		for _, l := range r.Scenario.Loads {
			var of []*Row
			for _, w := range r.Rows {
				if w.Target == t.Name && w.Load == l.Name {
					of = append(of, w)
				}
			}
			if len(of) > 0 {
				rows = append(rows, summary(of))
			}
		}
	}
	return rows
}

func summary(rows []*Row) *Row {
	s := *rows[len(rows)-1]
	s.Samples, s.Windows, s.Round = nil, nil, 0
	for _, f := range []func(*Row) *float64{
		func(w *Row) *float64 { return &w.Offered }, func(w *Row) *float64 { return &w.EventsPerSec },
		func(w *Row) *float64 { return &w.BytesPerSec }, func(w *Row) *float64 { return &w.EventsPerCPU },
		func(w *Row) *float64 { return &w.Cores }, func(w *Row) *float64 { return &w.Switches },
		func(w *Row) *float64 { return &w.AllocsPerEv }, func(w *Row) *float64 { return &w.P50 },
		func(w *Row) *float64 { return &w.P99 }, func(w *Row) *float64 { return &w.P999 }, func(w *Row) *float64 { return &w.Max },
		func(w *Row) *float64 { return &w.RefusedP99 }, func(w *Row) *float64 { return &w.GeneratorCPU },
		func(w *Row) *float64 { return &w.RawPerEv }, func(w *Row) *float64 { return &w.WirePerEv },
		func(w *Row) *float64 { return &w.Waited }, func(w *Row) *float64 { return &w.LateP99 },
	} {
		values := make([]float64, len(rows))
		for i, w := range rows {
			values[i] = *f(w)
		}
		*f(&s) = median(values)
	}
	s.PeakRSS, s.Refused, s.NoReply, s.Acked, s.Failure, s.Problem = 0, 0, 0, 0, "", ""
	for _, w := range rows {
		s.PeakRSS = max(s.PeakRSS, w.PeakRSS)
		s.Refused += w.Refused
		s.NoReply += w.NoReply
		s.Acked += w.Acked
		or(&s.Failure, w.Failure)
		or(&s.Problem, w.Problem)
	}
	return &s
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (r *Result) load(name string) *Load {
	for i := range r.Scenario.Loads {
		if l := &r.Scenario.Loads[i]; l.Name == name {
			return l
		}
	}
	return nil
}

// perBody is the number of events in a body, 0 where it is not fixed.
func (l *Load) perBody() float64 {
	if l.Events > 0 {
		return float64(l.Events)
	}
	p, _ := load.Named(l.Profile)
	if p.Kind != load.Invocations {
		return 0
	}
	return float64(p.Events)
}

func (d Duration) seconds() float64 { return time.Duration(d).Seconds() }

// columns are those of the tables.
var columns = []string{"load", "offered/s", "events/s", "events per CPU-s", "cores", "p50 ms", "p99 ms", "p99.9 ms", "sent late, p99 ms", "refused, p99 ms", "peak RSS MB", "allocs/event", "switches/s", "problem"}

// cells are the row in the order of columns.
func (w *Row) cells(several bool) []string {
	name := w.Load
	if several {
		name = w.Target + ", " + name
	}
	offered, refused, late := "", "", ""
	if w.Offered > 0 {
		offered, late = thousands(w.Offered), digits(w.LateP99)
	}
	if w.Refused+w.NoReply > 0 {
		refused = thousands(float64(w.Refused)) + ", " + digits(w.RefusedP99)
	}
	if w.NoReply > 0 {
		refused += fmt.Sprintf("; %d without answer, %s", w.NoReply, w.Failure)
	}
	return []string{
		name, offered, thousands(w.EventsPerSec), thousands(w.EventsPerCPU), fmt.Sprintf("%.2f", w.Cores),
		digits(w.P50), digits(w.P99), digits(w.P999), late, refused, fmt.Sprintf("%.0f", float64(w.PeakRSS)/1e6),
		fmt.Sprintf("%.2g", w.AllocsPerEv), thousands(w.Switches), w.Problem,
	}
}

// line is the row for a terminal.
func (w *Row) line() string {
	text := fmt.Sprintf("%9s events/s  %9s per CPU-s  p50 %s  p99 %s ms  %3.0f MB", thousands(w.EventsPerSec), thousands(w.EventsPerCPU),
		digits(w.P50), digits(w.P99), float64(w.PeakRSS)/1e6)
	if w.Refused+w.NoReply > 0 {
		text += fmt.Sprintf("  refused %d, without answer %d %s", w.Refused, w.NoReply, w.Failure)
	}
	if w.Problem != "" {
		text += "  WRONG: " + w.Problem
	}
	return text
}

// digits writes milliseconds with three digits.
func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// thousands rounds to three digits and sets commas.
func thousands(v float64) string {
	unit := 1.0
	for v/unit >= 1000 {
		unit *= 10
	}
	text := fmt.Sprintf("%.0f", float64(int64(v/unit+0.5))*unit)
	if v < 100 && v != float64(int64(v)) {
		return fmt.Sprintf("%.1f", v)
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// table returns the heads and the rows, without columns that are empty everywhere.
func (r *Result) table() (head []string, rows [][]string) {
	several := len(r.Scenario.Targets) > 1
	var all [][]string
	for _, w := range r.Summary() {
		all = append(all, w.cells(several))
	}
	rows = make([][]string, len(all))
	for c, name := range columns {
		if !slices.ContainsFunc(all, func(cells []string) bool { return strings.Trim(cells[c], "0.") != "" }) {
			continue
		}
		head = append(head, name)
		for i, cells := range all {
			rows[i] = append(rows[i], cells[c])
		}
	}
	return head, rows
}
