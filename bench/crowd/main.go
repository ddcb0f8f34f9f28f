// Command crowd measures what a crowd of clients with big bodies does to ingest: many more than its memory
// can hold at once post bodies of nearly 4 MiB. It prints what gets through, with a few clients and with
// the crowd, and fails when the crowd gets less than 70 % of what 8 connections get, when a request stays
// without an answer, when the process outgrows its limit by more than 8 MiB, or when what was answered 200
// is not in the topic.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

const (
	fewConns  = 8
	slack     = 8 << 20
	leastPart = 0.7
	// eventsPerBody make a body of just under 4 MiB.
	eventsPerBody = 17_000
)

type scenario struct {
	limitMiB, conns int
}

func main() {
	warmUp := flag.Duration("warm-up", 12*time.Second, "time before measuring; Retry-After adapts in it")
	measure := flag.Duration("measure", 8*time.Second, "time that is measured")
	binary := flag.String("binary", "", "measure this ingest instead of building one")
	flag.Parse()
	if err := run(*binary, *warmUp, *measure); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

func run(binary string, warmUp, measure time.Duration) error {
	if binary == "" {
		dir, err := os.MkdirTemp("", "crowd")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "ingest")
		if err := proc.BuildTo(binary); err != nil {
			return err
		}
	}
	ctx := context.Background()
	k, err := kafkatest.StartCluster(ctx, kafkatest.Options{})
	if err != nil {
		return err
	}
	defer k.Close()
	var errs []error
	fmt.Printf("%-12s %6s %8s %8s %8s %8s %10s %8s\n", "limit", "conns", "MB/s", "200", "503", "p50 ms", "peak MiB", "CPU s")
	for _, s := range []scenario{{96, 1000}, {48, 100}} {
		if err := s.run(ctx, binary, k, warmUp, measure); err != nil {
			errs = append(errs, fmt.Errorf("%d MiB, %d connections: %w", s.limitMiB, s.conns, err))
		}
	}
	return errors.Join(errs...)
}

func (s scenario) run(ctx context.Context, binary string, k *kafkatest.Cluster, warmUp, measure time.Duration) error {
	topic := fmt.Sprintf("crowd-%d", s.limitMiB)
	if err := k.CreateTopic(topic, 4, map[string]string{"retention.bytes": "200000000", "segment.bytes": "50000000"}); err != nil {
		return err
	}
	p, err := proc.Launch(proc.Serve(binary, k.Bootstrap(), topic, "--memory-limit", fmt.Sprintf("%dMiB", s.limitMiB), "--codec", "none"))
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.WaitReady(ctx); err != nil {
		return err
	}
	var rate [2]float64
	acked := int64(0)
	for i, conns := range []int{fewConns, s.conns} {
		r, err := load.Start(ctx, load.Options{
			Addr: p.Listen, Conns: conns, Profile: load.Profile{Events: eventsPerBody, Seed: 3},
			RetryAfter: true, ReadWhileWriting: true, Timeout: 2 * time.Minute,
		})
		if err != nil {
			return err
		}
		time.Sleep(warmUp)
		before, err := p.CPU()
		if err != nil {
			return err
		}
		phase := r.Next()
		time.Sleep(measure)
		r.Next()
		after, err := p.CPU()
		if err != nil {
			return err
		}
		results := r.Stop()
		for _, res := range results {
			acked += res.Events
			if res.NoReply != 0 || res.Refused != 0 || res.MissingRetryAfter != 0 {
				return fmt.Errorf("%d requests without an answer, %d connections refused, %d answers 503 without Retry-After: %w",
					res.NoReply, res.Refused, res.MissingRetryAfter, res.LastError)
			}
		}
		res := &results[phase]
		rate[i] = float64(res.Bytes) / 1e6 / res.Elapsed.Seconds()
		peak, err := p.PeakRSS()
		if err != nil {
			return err
		}
		fmt.Printf("%-12s %6d %8.0f %8d %8d %8.0f %10.1f %8.1f\n", fmt.Sprintf("%d MiB", s.limitMiB), conns, rate[i], res.Status[200], res.Status[503],
			float64(res.Latency.Quantile(0.5).Milliseconds()), float64(peak)/(1<<20), (after - before).Seconds())
		if peak > int64(s.limitMiB)<<20+slack {
			return fmt.Errorf("peak RSS %.1f MiB", float64(peak)/(1<<20))
		}
	}
	if _, err := p.Stop(ctx); err != nil {
		return err
	}
	l, err := p.LastLedger()
	if err != nil {
		return err
	}
	if err := l.Balance(); err != nil || l.Delivered != acked {
		return fmt.Errorf("%d events answered 200, %d delivered (%w)", acked, l.Delivered, err)
	}
	if part := rate[1] / rate[0]; part < leastPart {
		return fmt.Errorf("the crowd gets %.0f %% of what %d connections get", 100*part, fewConns)
	}
	return nil
}
