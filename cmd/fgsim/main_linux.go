// Command fgsim plays FunctionGraph for an extension: it starts it as the platform does, serves the
// extension API, sends invocation events and telemetry, freezes, thaws and ends it, and reports what it
// found. See README.md.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"

	"functiongraph-ingest/internal/fgsim"
)

// The exit codes.
const (
	exitOK    = 0
	exitFault = 1 // a violation, or events that were never answered 200
	exitUsage = 2 // a bad command line, scenario or package: nothing was judged
)

//go:embed scenarios/*.yaml
var scenarios embed.FS

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// arguments are the command line.
type arguments struct {
	pkg, exec, name, record string
	env, set                list
	json, verbose           bool
	scenario                string
}

// shorthands are flags for what is changed most: they stand for --set with this path.
var shorthands = [...]struct{ name, path, help string }{
	{"duration", "traffic.duration", "of the traffic"},
	{"rate", "traffic.rate", "events per second; 0 is as fast as they are answered"},
	{"concurrency", "traffic.concurrency", "invocations at once"},
	{"connections", "traffic.connections", "that telemetry is posted over"},
	{"batch", "traffic.batch", "events of a body, at most"},
	{"logs", "traffic.logs", "lines that an invocation logs, at most"},
	{"idle", "idle", "how long to measure the idle process"},
	{"neighbour", "neighbour.window", "of measuring a CPU-bound function on the same core"},
	{"memory", "limits.memory", "of the instance, such as 128MiB"},
	{"cpu", "limits.cpu", "cores of the instance, such as 0.1"},
	{"grace", "stop.grace", "between SIGTERM and SIGKILL"},
	{"seed", "seed", "of the telemetry"},
}

func parse(args []string, stderr io.Writer) (arguments, error) {
	var a arguments
	f := flag.NewFlagSet("fgsim", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&a.pkg, "package", "", "the extension's zip: extension/extension….sh is started")
	f.StringVar(&a.exec, "exec", "", "a command line that is started instead, through sh")
	f.StringVar(&a.name, "name", "", "with -exec: the name that must be registered; empty takes any extension….sh")
	f.StringVar(&a.record, "record", "", "file to write a JSON line to for each event of each attempt")
	f.Var(&a.env, "env", "NAME=VALUE for the extension; may be repeated")
	f.Var(&a.set, "set", "path=value in the scenario, such as platform.resend=3; may be repeated")
	f.BoolVar(&a.json, "json", false, "print the report as JSON")
	f.BoolVar(&a.verbose, "verbose", false, "print phases and what the extension prints to stderr")
	for _, s := range shorthands {
		f.Func(s.name, s.help+" (--set "+s.path+"=…)", func(v string) error { return a.set.Set(s.path + "=" + v) })
	}
	f.Usage = func() {
		fmt.Fprintf(stderr, "usage: fgsim [flags] SCENARIO\n\nSCENARIO is a YAML file or one of: %s\n\n", strings.Join(builtin(), ", "))
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return a, err
	}
	switch {
	case f.NArg() != 1:
		return a, fmt.Errorf("want one scenario: a file or one of %s", strings.Join(builtin(), ", "))
	case (a.pkg == "") == (a.exec == ""):
		return a, errors.New("want either -package or -exec")
	}
	for _, e := range a.env {
		if !strings.Contains(e, "=") {
			return a, fmt.Errorf("-env %s: want NAME=VALUE", e)
		}
	}
	a.scenario = f.Arg(0)
	return a, nil
}

// builtin are the names of the scenarios that the program brings along.
func builtin() []string {
	files, _ := fs.Glob(scenarios, "scenarios/*.yaml") // the pattern is good
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return files
}

// scenario reads a file, or a scenario by its name.
func scenario(name string, overrides []string) (*fgsim.Scenario, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if own, ownErr := scenarios.ReadFile("scenarios/" + name + ".yaml"); ownErr == nil {
			text, err = own, nil
		}
	}
	if err != nil {
		return nil, err
	}
	s, err := fgsim.Parse(text, overrides...)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	return s, nil
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == neighbourCommand {
		fmt.Fprintln(os.Stderr, "fgsim:", fgsim.RunNeighbour(os.Args[2]))
		os.Exit(exitFault)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// neighbourCommand makes this program the function beside the extension. It is not for users.
const neighbourCommand = "run-neighbour"

// run is the program without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	var report *fgsim.Report
	if err == nil {
		report, err = play(ctx, a, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "fgsim:", err)
		return exitUsage
	}
	if a.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = report.WriteText(stdout)
	}
	if err != nil || !report.OK() {
		return exitFault
	}
	return exitOK
}

func play(ctx context.Context, a arguments, stderr io.Writer) (report *fgsim.Report, err error) {
	s, err := scenario(a.scenario, a.set)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := fgsim.Options{Scenario: s, Package: a.pkg, Name: a.name, Env: a.env, Neighbour: []string{self, neighbourCommand}}
	if a.exec != "" {
		o.Command = []string{"/bin/sh", "-c", "exec " + a.exec}
	}
	if a.verbose {
		o.Log, o.Echo = stderr, stderr
	}
	if a.record != "" {
		f, err := os.Create(a.record)
		if err != nil {
			return nil, err
		}
		journal := fgsim.NewJournal(f)
		o.Recorder = journal
		report, err = fgsim.Run(ctx, o)
		return report, errors.Join(err, journal.Err(), f.Close())
	}
	return fgsim.Run(ctx, o)
}
