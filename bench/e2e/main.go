// Command e2e measures the whole program: the built binary as a process, a real Apache Kafka, a closed
// loop of clients that wait for the broker's ack. It prints one line for each scenario and round, and
// exits with 1 when what was delivered differs from what was answered.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	rounds     int
	warmUp     time.Duration
	measure    time.Duration
	partitions int
	only       *regexp.Regexp
	binary     string
	args       []string // of ingest serve, further
	dataDir    string
	json       string
	profile    string
}

func parse(args []string) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("e2e", flag.ContinueOnError)
	flags.IntVar(&s.rounds, "rounds", 3, "rounds over all scenarios")
	flags.DurationVar(&s.warmUp, "warm-up", 2*time.Second, "time before measuring")
	flags.DurationVar(&s.measure, "measure", 6*time.Second, "time that is measured")
	flags.IntVar(&s.partitions, "partitions", 4, "partitions of the topic")
	flags.StringVar(&s.binary, "binary", "", "measure this ingest instead of building one")
	flags.StringVar(&s.dataDir, "data", "", "folder for the broker's data; empty: the temporary folder")
	flags.StringVar(&s.json, "json", "", "also write the results to this file")
	flags.StringVar(&s.profile, "cpuprofile", "", "folder for one CPU profile of ingest per scenario; starts it with --pprof")
	only := flags.String("only", "", "regular expression: run only scenarios whose name matches")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: e2e [flags] [-- further arguments of ingest serve]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var err error
	s.only, err = regexp.Compile(*only)
	s.args = flags.Args()
	return s, err
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ingest-e2e-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if s.binary == "" {
		s.binary = filepath.Join(dir, "ingest")
		if err := proc.BuildTo(s.binary, "-ldflags=-s -w"); err != nil {
			return err
		}
	}
	kafka, err := kafkatest.StartCluster(ctx, kafkatest.Options{
		Heap:    "1g",
		DataDir: s.dataDir,
		Properties: map[string]string{
			// The records are counted by offsets; their bytes can go early.
			"log.retention.check.interval.ms": "1000",
			"log.segment.delete.delay.ms":     "100",
			"log.initial.task.delay.ms":       "1000",
			"broker.session.timeout.ms":       "18000", // a starved machine is not a dead broker
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = kafka.Close() }()

	report := newReport(s)
	report.printHead(out)
	for round := 1; round <= s.rounds; round++ {
		for _, sc := range scenarios() {
			if !s.only.MatchString(sc.Name) {
				continue
			}
			row, err := measure(ctx, s, kafka, sc, round)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", sc.Name, round, err)
			}
			report.add(out, row)
		}
	}
	report.printSummary(out)
	if s.json != "" {
		if err := report.write(s.json); err != nil {
			return err
		}
	}
	if wrong := report.wrong(); len(wrong) > 0 {
		return fmt.Errorf("delivered differs: %s", strings.Join(wrong, "; "))
	}
	return nil
}
