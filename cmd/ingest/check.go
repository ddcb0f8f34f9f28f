package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/printable"
)

// level says how bad a finding is.
type level string

const (
	levelOK      level = "ok"
	levelNote    level = "note"    // worth knowing
	levelWarning level = "warning" // works, and not as one might expect
	levelFailed  level = "failed"  // serve would not do its work: exit code 1
)

// finding is one thing that check looked at.
type finding struct {
	Level   level  `json:"level"`
	Subject string `json:"subject"` // what was looked at: "broker 10.0.0.1:9092"
	Text    string `json:"text"`    // how it is
	Remedy  string `json:"remedy,omitempty"`
}

func (f finding) String() string {
	text := f.Subject + ": " + f.Text
	if f.Remedy != "" {
		text += ": " + f.Remedy
	}
	return text
}

// findings collects the results of all looks.
type findings []finding

func (l *findings) add(at level, subject, remedy, format string, args ...any) {
	*l = append(*l, finding{at, subject, printable.Text(fmt.Sprintf(format, args...)), remedy})
}

// failed reports whether something would keep serve from its work.
func (l findings) failed() bool {
	return slices.ContainsFunc(l, func(f finding) bool { return f.Level == levelFailed })
}

// checked is everything that check has to say; its JSON is the output of --json.
type checked struct {
	Settings []config.Shown `json:"settings"`
	Problems []string       `json:"problems"` // with the settings
	Warnings []string       `json:"warnings"`
	Budget   string         `json:"budget,omitempty"`
	Findings findings       `json:"findings"` // about the world; none with --offline
	Result   string         `json:"result"`   // ok, environment or settings
}

// check prints the settings with their sources, also when they are bad: that is when they are looked at. If they are
// good it looks at what they name, unless it is told not to. No event is written and no topic is made.
func check(inv *config.Invocation, stdout, stderr io.Writer) int {
	if inv.Markdown {
		fmt.Fprint(stdout, config.Markdown())
		return exitOK
	}
	cfg := inv.Config
	report := checked{Settings: cfg.Shown(), Problems: []string{}, Warnings: []string{}, Findings: findings{}, Result: "ok"}
	code := exitOK
	budget, err := plan(cfg)
	report.Warnings = append(report.Warnings, cfg.Warnings()...)
	switch {
	case err != nil:
		report.Problems, report.Result, code = problemsOf(err), "settings", exitUsage
	default:
		report.Budget = budget.String()
		report.Warnings = append(report.Warnings, budget.Warnings...)
		if !inv.Offline {
			ctx, _, end := signals()
			report.Findings = look(ctx, cfg, budget)
			end()
		}
		if report.Findings.failed() {
			report.Result, code = "environment", exitFailed
		}
	}
	if inv.JSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		err = report.text(cfg, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "ingest: "+err.Error())
		return exitFailed
	}
	return code
}

// text writes the settings and what is well to stdout, as a file for --config, and the rest to stderr.
func (r *checked) text(cfg *config.Config, stdout, stderr io.Writer) error {
	if err := cfg.WriteYAML(stdout); err != nil {
		return err
	}
	if r.Budget != "" {
		fmt.Fprintf(stdout, "# %s\n", r.Budget)
	}
	for _, text := range r.Warnings {
		fmt.Fprintln(stderr, "ingest: warning: "+text)
	}
	for _, text := range r.Problems {
		fmt.Fprintln(stderr, "ingest: "+text)
	}
	for _, f := range r.Findings {
		switch f.Level {
		case levelOK, levelNote:
			fmt.Fprintf(stdout, "# %s: %s\n", f.Level, f)
		case levelWarning:
			fmt.Fprintf(stderr, "ingest: warning: %s\n", f)
		case levelFailed:
			fmt.Fprintf(stderr, "ingest: %s\n", f)
		}
	}
	if len(r.Findings) == 0 {
		return nil
	}
	last := "# everything that was looked at is well"
	if r.Findings.failed() {
		last = "# ingest could not do its work here: stderr says why"
	}
	_, err := fmt.Fprintln(stdout, last)
	return err
}

func problemsOf(err error) []string {
	var problems config.Problems
	if errors.As(err, &problems) {
		return problems
	}
	return []string{err.Error()}
}

// look looks at everything that the settings name.
func look(ctx context.Context, cfg *config.Config, budget config.Budget) findings {
	var l findings
	if cfg.Sink == config.SinkKafka {
		l.kafka(ctx, cfg, budget)
	} else {
		l.output(cfg)
	}
	if cfg.Spools() {
		l.spool(cfg)
	}
	l.ports(cfg)
	l.descriptors(budget.Descriptors, budget.MaxConns)
	l.memory(cfg, config.ReadHost())
	l.times(cfg)
	return l
}
