// Command loadgen posts telemetry to an HTTP address of this machine as fast as it answers and prints
// what came of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
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
	var o load.Options
	flags := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	flags.StringVar(&o.Addr, "addr", "127.0.0.1:8080", "host:port to post to")
	flags.StringVar(&o.Profile.Path, "path", "/v1/events", "path of the requests")
	flags.IntVar(&o.Conns, "conns", 16, "connections; each waits for its answer")
	flags.IntVar(&o.Profile.Events, "events", 100, "events in a body; 17,000 make 4 MiB")
	flags.Uint64Var(&o.Profile.Seed, "seed", 1, "decides the bytes of the events")
	flags.Float64Var(&o.MaxRate, "rate", 0, "most events per second; 0: no limit")
	flags.Int64Var(&o.MaxEvents, "max", 0, "end after that many events; 0: no limit")
	flags.BoolVar(&o.RetryAfter, "retry", false, "wait as long as a 503 asks for, then send the body again")
	flags.BoolVar(&o.ReadWhileWriting, "read-while-writing", false, "see an answer that comes before the whole body is sent")
	warmUp := flags.Duration("warm-up", 0, "time before counting")
	measure := flags.Duration("duration", 10*time.Second, "time that is counted; 0: until -max or a signal")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := load.Start(ctx, o)
	if err != nil {
		return err
	}
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
	if r.NoReply+r.Refused+r.Retries+r.MissingRetryAfter > 0 {
		fmt.Fprintf(out, "without answer: %d  connections refused: %d  sent again after Retry-After: %d  503 without Retry-After: %d  last error: %v\n",
			r.NoReply, r.Refused, r.Retries, r.MissingRetryAfter, r.LastError)
	}
	return err
}
