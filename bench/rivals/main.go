// Command rivals puts ingest beside other programs that take the same bodies and write to Kafka: the same load and the
// same faults for each, one after the other, against one real broker. The oracle of the tests judges what is in the
// topic afterwards.
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
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "rivals:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var s settings
	others, err := s.parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ingest-rivals-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs, err := build(dir)
	if err != nil {
		return err
	}
	kafka, err := kafkatest.StartCluster(ctx, kafkatest.Options{Heap: "1g", Properties: map[string]string{
		"broker.session.timeout.ms": "18000", // a starved machine is not a dead broker
	}})
	if err != nil {
		return err
	}
	defer func() { _ = kafka.Close() }()
	machine := suite.ThisMachine()
	head := fmt.Sprintf("%s; load average before the start %s.\n%.0f events/s offered in bodies of %d events over %d connections; a fault begins %v after the start and lasts %v.\n",
		strings.Replace(machine.String(), ", Apache", ",\nApache", 1), machine.Load, s.rate, bodyEvents, connections, s.before, s.fault)
	fmt.Fprintln(out, head)
	var rows []*row
	for _, f := range faults {
		for _, p := range append(programs, others...) {
			r, err := s.trial(ctx, kafka, p, f)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", p.name, f.name, err)
			}
			fmt.Fprintln(out, r.line())
			rows = append(rows, r)
		}
	}
	fmt.Fprintf(out, "\n%s", table(rows))
	if s.doc == "" {
		return nil
	}
	return document(s.doc, head+"\n"+table(rows))
}

// settings are the flags.
type settings struct {
	rate                 float64
	before, fault, after time.Duration
	doc                  string
}

func (s *settings) parse(args []string) (others []program, err error) {
	flags := flag.NewFlagSet("rivals", flag.ContinueOnError)
	flags.Float64Var(&s.rate, "rate", 10_000, "events per second that clients offer")
	flags.DurationVar(&s.before, "before", 6*time.Second, "time before the fault")
	flags.DurationVar(&s.fault, "fault", 8*time.Second, "time that the fault lasts")
	flags.DurationVar(&s.after, "after", 6*time.Second, "time after it")
	flags.StringVar(&s.doc, "doc", "", "Markdown file whose table, between the marks, is replaced")
	flags.Func("rival", "another program as `name=command arguments`, with {listen}, {brokers}, {topic} and {dir} in them; may be repeated. "+
		"It takes arrays of JSON objects at any path, writes one record for each with its traceId as the key, and answers 200 when Kafka has all of them", func(text string) error {
		p, err := parseProgram(text)
		others = append(others, p)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return others, nil
}

// program is what takes bodies.
type program struct {
	name    string
	bin     string
	args    []string // {listen}, {admin}, {brokers}, {topic} and {dir} are replaced
	answers string   // when it answers 200
}

func parseProgram(text string) (program, error) {
	name, command, ok := strings.Cut(text, "=")
	words := strings.Fields(command)
	if !ok || name == "" || len(words) == 0 {
		return program{}, errors.New("want name=command arguments")
	}
	return program{name: name, bin: words[0], args: words[1:], answers: "?"}, nil
}

// build builds the programs of this repository into dir.
func build(dir string) ([]program, error) {
	bin := func(name string) string { return filepath.Join(dir, name) }
	if err := proc.BuildTo(bin("ingest"), "-ldflags=-s -w"); err != nil {
		return nil, err
	}
	for _, name := range []string{"franz", "writer"} {
		cmd := exec.Command("go", "build", "-o", bin(name), "functiongraph-ingest/bench/rivals/"+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	serve := []string{"serve", "--listen={listen}", "--admin={admin}", "--brokers={brokers}", "--topic={topic}"}
	byHand := []string{"--listen={listen}", "--brokers={brokers}", "--topic={topic}"}
	return []program{
		{"ingest", bin("ingest"), serve, "Kafka has it"},
		{"ingest --ack=disk", bin("ingest"), append(serve[:len(serve):len(serve)], "--ack=disk", "--spool-dir={dir}/spool"), "it is on disk"},
		{"fasthttp + franz-go", bin("franz"), byHand, "Kafka has it"},
		{"fasthttp + kafka-go", bin("writer"), byHand, "Kafka has it"},
	}, nil
}
