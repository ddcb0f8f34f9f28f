// Command suite runs scenarios and writes a report: a page, tables, pictures, and all figures as JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
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
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

type settings struct {
	out, binary, against, note, profiles string
	scale                                float64
	rounds                               int
	benchfmt, render, add                bool
	names, args                          []string
}

func parse(args []string) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("suite", flag.ContinueOnError)
	flags.StringVar(&s.out, "out", "", "folder for the report; empty: only print the tables")
	flags.BoolVar(&s.render, "render", false, "measure nothing: write the report in -out again from its figures")
	flags.BoolVar(&s.add, "add", false, "keep the other scenarios of the report in -out")
	flags.StringVar(&s.binary, "binary", "", "measure this ingest instead of building one")
	flags.StringVar(&s.against, "against", "", "measure this other build of ingest as well, in turn (targets \"base\" and \"new\"), after a round that warms the broker")
	flags.StringVar(&s.note, "note", "", "a sentence for the head of the report")
	flags.StringVar(&s.profiles, "cpuprofile", "", "folder for a CPU profile of ingest per load")
	flags.Float64Var(&s.scale, "scale", 1, "make warming up and measuring so many times as long; faults are left as they are")
	flags.BoolVar(&s.benchfmt, "benchfmt", false, "print only lines of Go's benchmark format, for benchstat")
	flags.IntVar(&s.rounds, "rounds", 0, "rounds, instead of the scenarios' own")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: suite [flags] [scenario ...] [-- further arguments of ingest serve]\n\nscenarios: %s (all of these when none is named), %s, or a file *.yaml\n\n",
			strings.Join(suite.All(), ", "), strings.Join(suite.Others(), ", "))
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	s.names = flags.Args()
	for i, a := range s.names {
		if strings.HasPrefix(a, "-") { // "--", which is swallowed where no scenario stands before it
			s.args = s.names[i:]
			s.names = s.names[:i]
			if a == "--" {
				s.args = s.args[1:]
			}
			break
		}
	}
	if len(s.names) == 0 {
		s.names = suite.All()
	}
	return s, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if s.render {
		report, err := suite.Read(s.out)
		if err != nil {
			return err
		}
		return report.Write(s.out)
	}
	var scenarios []*suite.Scenario
	for _, name := range s.names {
		sc, err := suite.LoadScenario(name)
		if err != nil {
			return err
		}
		if s.rounds > 0 {
			sc.Rounds = s.rounds
		}
		if s.against != "" {
			if err := sc.Against(s.against); err != nil {
				return err
			}
		}
		scenarios = append(scenarios, sc)
	}
	dir, err := os.MkdirTemp("", "ingest-suite-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := build(dir, s, scenarios); err != nil {
		return err
	}
	report := &suite.Report{Machine: suite.ThisMachine()}
	report.Machine.Note = s.note
	lines := out
	if s.benchfmt {
		out = io.Discard
	}
	fmt.Fprintln(out, report.Machine.String())
	r := &suite.Runner{Binary: s.binary, Args: s.args, Profiles: s.profiles, Progress: func(line string) { fmt.Fprintln(out, line) }}
	if s.scale != 1 {
		r.Adjust = s.shorten
	}
	defer func() { _ = r.Close() }()
	for _, sc := range scenarios {
		result, err := r.Run(ctx, sc)
		if errors.Is(err, suite.ErrNoLimit) {
			report.LeftOut = append(report.LeftOut, err.Error())
			fmt.Fprintln(out, "left out:", err)
			continue
		}
		if err != nil {
			return err
		}
		report.Results = append(report.Results, result)
	}
	if s.benchfmt {
		return errors.Join(report.Benchmarks(lines), problems(report))
	}
	return s.publish(report, out)
}

// publish prints the tables and writes the report.
func (s *settings) publish(report *suite.Report, out io.Writer) error {
	fmt.Fprintln(out)
	if err := report.Markdown(out, false); err != nil {
		return err
	}
	if s.out != "" {
		if s.add {
			before, err := suite.Read(s.out)
			if err != nil {
				return err
			}
			report = before.With(report)
		}
		if err := report.Write(s.out); err != nil {
			return err
		}
		fmt.Fprintf(out, "\nreport: %s\n", filepath.Join(s.out, "report.html"))
	}
	return problems(report)
}

func problems(report *suite.Report) error {
	if list := report.Problems(); len(list) > 0 {
		return errors.New(strings.Join(list, "\n"))
	}
	return nil
}

// build makes the programs that are measured.
func build(dir string, s *settings, scenarios []*suite.Scenario) error {
	if s.binary == "" {
		s.binary = filepath.Join(dir, "ingest")
		if err := proc.BuildTo(s.binary, "-ldflags=-s -w"); err != nil {
			return err
		}
	}
	null := filepath.Join(dir, "nullpipe")
	for _, sc := range scenarios {
		for i := range sc.Targets {
			c := sc.Targets[i].Command
			if len(c) == 0 || c[0] != "{nullpipe}" {
				continue
			}
			c[0] = null
			if _, err := os.Stat(null); err == nil {
				continue
			}
			if out, err := exec.Command("go", "build", "-o", null, "functiongraph-ingest/bench/nullpipe").CombinedOutput(); err != nil {
				return fmt.Errorf("build nullpipe: %w\n%s", err, out)
			}
		}
	}
	return nil
}

// shorten changes how long a load is measured.
func (s *settings) shorten(l suite.Load) suite.Load {
	if len(l.Faults) > 0 {
		return l
	}
	l.WarmUp = suite.Duration(float64(l.WarmUp) * s.scale)
	l.Duration = suite.Duration(max(float64(l.Duration)*s.scale, float64(500*time.Millisecond)))
	return l
}
