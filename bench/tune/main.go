// Command tune sweeps the settings that decide throughput, latency and overload, one at a time, in the places
// where ingest runs, and writes the tables of docs/tuning.md with their evidence as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"functiongraph-ingest/bench/suite"
	"functiongraph-ingest/test/proc"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "tune:", err)
		os.Exit(1)
	}
}

// evidence is the JSON file.
type evidence struct {
	Machine suite.Machine `json:"machine"`
	P99     string        `json:"mostP99"`
	Refused float64       `json:"mostRefusedShare"`
	Trial   string        `json:"trial"`
	Trials  []*trial      `json:"trials"`
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("tune", flag.ContinueOnError)
	each := flags.Duration("trial", 4*time.Second, "length of one trial of a rate")
	only := flags.String("settings", "", "settings to sweep, separated by commas; empty: all")
	where := flags.String("profiles", "", "profiles, separated by commas; empty: small, medium, server")
	jsonFile := flags.String("json", "", "file for the evidence; what it holds of other settings and profiles is kept")
	doc := flags.String("doc", "", "Markdown file whose tables, between the marks, are replaced")
	render := flags.Bool("render", false, "measure nothing: write the tables from the evidence")
	note := flags.String("note", "", "a sentence about this run")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *render {
		var e evidence
		text, err := os.ReadFile(*jsonFile)
		if err == nil {
			err = json.Unmarshal(text, &e)
		}
		if err != nil {
			return err
		}
		return errors.Join(writeTables(out, e.Trials), e.document(*doc))
	}
	dir, err := os.MkdirTemp("", "ingest-tune-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "ingest")
	if err := proc.BuildTo(binary, "-ldflags=-s -w"); err != nil {
		return err
	}
	e := &evidence{Machine: suite.ThisMachine(), P99: mostP99.String(), Refused: mostRefused, Trial: each.String()}
	e.Machine.Note = *note
	r := &suite.Runner{Binary: binary, Progress: func(line string) { fmt.Fprintln(out, line) }}
	defer func() { _ = r.Close() }()
	save := func() error { // after each setting: a sweep takes hours
		all := *e
		return errors.Join(all.merge(*jsonFile), all.write(*jsonFile), all.document(*doc))
	}
	if err := sweep(ctx, r, e, *where, *only, *each, out, save); err != nil {
		return err
	}
	return writeTables(out, e.Trials)
}

func sweep(ctx context.Context, r *suite.Runner, e *evidence, where, only string, each time.Duration, out io.Writer, save func() error) error {
	for _, p := range profiles() {
		if !listed(where, p.Name) {
			continue
		}
		for _, s := range settings() {
			if !listed(only, s.flag) || !s.fits(&p) {
				continue
			}
			measure := func(value string) (*trial, error) {
				result, err := r.Run(ctx, scenario(&p, s.flag, value, each))
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if err != nil { // a value that this profile refuses is a finding too
					fmt.Fprintln(out, err)
					return (&trial{Profile: p.Name, Flag: s.flag, Value: value, Default: value == s.initial, Problem: firstLine(err)}).of(e), nil
				}
				return newTrial(&p, &s, value, result.Rows).of(e), nil
			}
			trials, err := s.sweep(measure)
			if err != nil {
				return err
			}
			e.Trials = append(e.Trials, trials...)
			if err := save(); err != nil {
				return err
			}
		}
	}
	if len(e.Trials) == 0 {
		return errors.New("nothing to sweep")
	}
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// of notes where a trial comes from.
func (t *trial) of(e *evidence) *trial {
	t.Commit, t.Trial = e.Machine.Commit, e.Trial
	return t
}

// merge keeps the trials of an earlier run that this one does not replace, so that the sweep can be made in parts,
// and puts all in the order of the plan.
func (e *evidence) merge(file string) error {
	text, err := os.ReadFile(file)
	if file == "" || errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var old evidence
	if err := json.Unmarshal(text, &old); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	swept := map[[2]string]bool{}
	for _, t := range e.Trials {
		swept[[2]string{t.Profile, t.Flag}] = true
	}
	all := e.Trials
	for _, t := range old.Trials {
		if !swept[[2]string{t.Profile, t.Flag}] {
			all = append(all, t)
		}
	}
	e.Trials = nil
	for _, p := range profiles() {
		for _, s := range settings() {
			if !s.fits(&p) {
				continue
			}
			for _, t := range all {
				if t.Profile == p.Name && t.Flag == s.flag {
					e.Trials = append(e.Trials, t)
				}
			}
		}
	}
	return nil
}

// listed reports whether name is in a list separated by commas; an empty list holds everything.
func listed(list, name string) bool {
	return list == "" || strings.Contains(","+list+",", ","+name+",")
}

func (e *evidence) write(file string) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// The marks between which the tables stand in the document.
const (
	beginMark = "<!-- make tune: begin -->\n"
	endMark   = "<!-- make tune: end -->\n"
)

// document replaces the tables in a document.
func (e *evidence) document(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no marks for the tables", file)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\nLast run: %s; trials of %s.", before, beginMark, e.Machine.String(), e.Trial)
	if e.Machine.Note != "" {
		fmt.Fprintf(&b, " %s", e.Machine.Note)
	}
	b.WriteString("\n")
	if err := writeTables(&b, e.Trials); err != nil {
		return err
	}
	b.WriteString("\n" + endMark + after)
	return os.WriteFile(file, []byte(b.String()), 0o644)
}
