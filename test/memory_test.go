package test

import (
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/proc"
)

// Many more clients post bodies of nearly 4 MiB than the gate can hold: every request is answered, with
// 200 or with 503 and Retry-After, the process stays within its memory limit and 8 MiB, and what was
// answered 200 is delivered. How much gets through is measured by bench/crowd.
func TestMemoryLimitHoldsAgainstACrowd(t *testing.T) {
	k := kafka(t)
	for _, c := range []struct {
		name, limit string
		bytes       int64
		conns       int
	}{
		{"1,000 connections in 96 MiB", "96MiB", 96 << 20, 1000},
		{"100 connections in 48 MiB", "48MiB", 48 << 20, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic := "crowd-" + c.limit
			k.Topic(t, topic, 4, map[string]string{"retention.bytes": "200000000", "segment.bytes": "50000000"})
			p := proc.Start(t, proc.Serve(proc.Build(t), k.Bootstrap(), topic, "--memory-limit", c.limit, "--codec", "none",
				"--min-body-rate=0")) // on a busy machine these clients are slow themselves
			few := crowd(t, p, 8)
			many := crowd(t, p, c.conns)
			peak, err := p.PeakRSS()
			must(t, err)
			code, l := p.MustStop(t)
			t.Logf("8 connections %.0f MB/s, %d connections %.0f MB/s, statuses %v, peak RSS %.1f MiB, exit %d",
				megabytes(few), c.conns, megabytes(many), many.Status, float64(peak)/(1<<20), code)
			if peak > c.bytes+8<<20 {
				t.Errorf("peak RSS %d bytes, limit %s and 8 MiB", peak, c.limit)
			}
			for _, r := range []*load.Result{few, many} {
				if r.NoReply != 0 || r.Refused != 0 || r.MissingRetryAfter != 0 {
					t.Errorf("%d requests without an answer, %d connections refused, %d answers 503 without Retry-After (%v)",
						r.NoReply, r.Refused, r.MissingRetryAfter, r.LastError)
				}
				for status := range r.Status {
					if status != 200 && status != 503 {
						t.Errorf("status %d: %d times", status, r.Status[status])
					}
				}
			}
			if err := l.Balance(); err != nil || l.Delivered != few.Events+many.Events || code != 0 {
				t.Errorf("exit %d, %d events answered 200, ledger %+v (%v)", code, few.Events+many.Events, *l, err)
			}
		})
	}
}

// bigBody is the number of events that make a body of just under 4 MiB.
const bigBody = 17_000

func crowd(t *testing.T, p *proc.Process, conns int) *load.Result {
	t.Helper()
	r, err := load.Start(t.Context(), load.Options{
		Addr: p.Listen, Conns: conns, Profile: load.Profile{Events: bigBody, Seed: 3},
		RetryAfter: true, ReadWhileWriting: true, MaxEvents: int64(max(100, conns)) * bigBody, Timeout: 2 * time.Minute,
	})
	must(t, err)
	// Every connection has one body to bring, or a few; then it is over.
	res := r.Wait()
	return &res[0]
}

func megabytes(r *load.Result) float64 { return float64(r.Bytes) / 1e6 / r.Elapsed.Seconds() }
