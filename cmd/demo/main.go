// Command demo shows ingest at work, with nothing but Go: it builds the dependency package, lets a simulated
// FunctionGraph (internal/fgsim) start it, invoke the function and post telemetry, beside a Kafka broker that
// lives inside of the demo (kfake), reads everything back with another Kafka client (franz-go), and shows all
// of it while it happens. In the middle the broker freezes for 4 s, so that the spool fills and drains. It needs Linux.
//
// It ends with an account. The exit status is 0 only if every event that was posted has been consumed
// exactly once, unchanged, in order, from the topic where it belongs, and the ledger of ingest says the same.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are what users choose.
type options struct {
	duration    time.Duration
	rate        int    // events per second, on the average
	connections int    // that telemetry is posted over, each one body at a time
	seed        uint64 // of the telemetry
	zip         string // the dependency package; "" builds it
	open        bool   // tell the address of the status page
	page        string // it, once it is known and to be told
	plain       bool   // lines instead of a screen that is redrawn
}

// maxEvents bounds what one run posts: broker, consumer and account keep all of it in memory, about 1 KiB
// an event (600 MiB resident for 590,000 events).
const maxEvents = 1_000_000

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.DurationVar(&o.duration, "duration", 15*time.Second, "how long to post")
	f.IntVar(&o.rate, "rate", 20_000, "events per second, on the average")
	f.IntVar(&o.connections, "connections", 8, "over which telemetry is posted at the same time")
	f.Uint64Var(&o.seed, "seed", 1, "of the telemetry: the same seed makes the same events")
	f.StringVar(&o.zip, "package", "", "the dependency package; empty builds it")
	f.BoolVar(&o.open, "open", false, "tell the address of the status page")
	f.BoolVar(&o.plain, "plain", false, "one line a second, also on a terminal")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %s", f.Arg(0))
	case o.duration <= 0 || o.rate <= 0:
		return o, errors.New("-duration and -rate must be above 0")
	case o.connections < 1 || o.connections > 256:
		return o, errors.New("-connections must be 1 to 256")
	case o.duration.Seconds()*float64(o.rate) > maxEvents:
		return o, fmt.Errorf("%v at %d events/s is more than the %d events that the broker in memory is good for", o.duration, o.rate, maxEvents)
	}
	return o, nil
}

const (
	exitOK     = 0
	exitDiffer = 1 // something differs, or the demo could not run
	exitUsage  = 2
)

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(exitOK)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	code := exitOK
	if ok, err := run(ctx, o, newScreen(os.Stdout, o.plain)); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		code = exitDiffer
	} else if !ok {
		code = exitDiffer
	}
	stop()
	os.Exit(code)
}
