// Command loadgen posts telemetry to an HTTP address, as fast as it answers or at a rate, and prints what
// came of it. "loadgen null" is a server that does nothing, to see what loadgen itself can do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"functiongraph-ingest/bench/load"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "null" {
		return null(ctx, args[1:], out)
	}
	var o load.Options
	flags := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	flags.StringVar(&o.Addr, "addr", "127.0.0.1:8080", "host:port to post to")
	path := flags.String("path", "/v1/events", "path of the requests")
	flags.IntVar(&o.Conns, "conns", 16, "connections; each waits for its answer")
	profile := flags.String("profile", "100", "1, 100, 1000 (events a body), invocations, function-logs, keyed-logs, platform-reports, mixed, hostile")
	events := flags.Int("events", 0, "events in a body, instead of the profile's; 17,000 make 4 MiB")
	encoding := flags.String("encoding", "", "compress bodies: gzip, zstd")
	flags.IntVar(&o.Threads, "threads", 0, "event loops; 0: half of the processors")
	open := flags.String("arrivals", "", "constant or poisson: send at -rate whatever the server does; latency counts from the intended time")
	seed := flags.Uint64("seed", 1, "decides the bytes of the events")
	rate := flags.Float64("rate", 0, "events per second; without -arrivals the most; 0: no limit")
	flags.Int64Var(&o.MaxEvents, "max", 0, "end after that many events; 0: no limit")
	flags.BoolVar(&o.RetryAfter, "retry", false, "wait as long as a 503 asks for, then send the body again")
	flags.BoolVar(&o.ReadWhileWriting, "read-while-writing", false, "see an answer that comes before the whole body is sent")
	warmUp := flags.Duration("warm-up", 0, "time before counting")
	measure := flags.Duration("duration", 10*time.Second, "time that is counted; 0: until -max or a signal")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.Profile, err = load.Named(*profile); err != nil {
		return err
	}
	o.Profile.Path, o.Profile.Seed, o.Profile.Encoding = *path, *seed, *encoding
	if *events > 0 {
		o.Profile.Events = *events
	}
	if o.Arrivals = load.Arrivals(*open); o.Arrivals == load.Closed {
		o.MaxRate = *rate
	} else {
		o.Rate = *rate
	}
	r, err := load.Start(ctx, o)
	if err != nil {
		return err
	}
	defer watch(r)()
	phase := 0
	if *warmUp > 0 {
		sleep(ctx, *warmUp)
		phase = r.Next()
	}
	results := finish(ctx, r, *measure)
	return show(out, &results[phase])
}

// finish waits for the end of the run: after d, or when MaxEvents are sent, whichever is first.
func finish(ctx context.Context, r *load.Run, d time.Duration) []load.Result {
	if d == 0 {
		return r.Wait()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Wait()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	case <-ctx.Done():
	}
	results := r.Stop()
	<-done
	return results
}

// watch writes a line of progress to stderr every second until the function it returns is called; where
// stderr is no terminal it writes nothing.
func watch(r *load.Run) (stop func()) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for last := (load.Progress{}); ; {
			select {
			case <-quit:
				fmt.Fprint(os.Stderr, "\r\033[K")
				return
			case <-ticker.C:
				now := r.Progress()
				fmt.Fprintf(os.Stderr, "\r\033[K%d events/s, %d bodies/s, %d answers but 200 or none; %d events so far",
					now.Events-last.Events, now.Bodies-last.Bodies, now.Refused-last.Refused, now.Events)
				last = now
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// null serves until ctx ends.
func null(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("loadgen null", flag.ContinueOnError)
	addr := flags.String("listen", "127.0.0.1:8080", "host:port to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "answering 200 on", l.Addr())
	return load.ServeNull(ctx, l.(*net.TCPListener))
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func show(out io.Writer, r *load.Result) error {
	h := &r.Latency
	_, err := fmt.Fprintf(out, "%d events in %d bodies answered 200 in %v: %.0f events/s, %.1f MB/s\n"+
		"latency p50 %v  p90 %v  p99 %v  p99.9 %v  max %v\n",
		r.Events, r.Bodies, r.Elapsed.Round(time.Millisecond), r.EventsPerSecond(), float64(r.Bytes)/1e6/r.Elapsed.Seconds(),
		h.Quantile(0.5), h.Quantile(0.9), h.Quantile(0.99), h.Quantile(0.999), h.Max())
	for _, status := range slices.Sorted(maps.Keys(r.Status)) {
		fmt.Fprintf(out, "%d: %d\n", status, r.Status[status])
	}
	if r.Offered > 0 {
		fmt.Fprintf(out, "offered %.0f events/s; sent late by p50 %v p99 %v, waited for a connection: %d bodies, never sent: %d\n",
			float64(r.Offered)/r.Elapsed.Seconds(), r.Late.Quantile(0.5), r.Late.Quantile(0.99), r.Waited, r.Unsent)
	}
	if r.NoReply+r.Refused+r.Retries+r.MissingRetryAfter > 0 {
		fmt.Fprintf(out, "without answer: %d  connections refused: %d  sent again after Retry-After: %d  503 without Retry-After: %d  last error: %v\n",
			r.NoReply, r.Refused, r.Retries, r.MissingRetryAfter, r.LastError)
	}
	return err
}
