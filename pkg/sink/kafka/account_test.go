package kafka

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

// checkBalance tests the equation of the ledger for a moment of a sink.
func checkBalance(t *testing.T, st sink.Stats) {
	t.Helper()
	balance(t, st, st.Admitted)
}

// The terms add up while appenders wait for room, dead letters are dropped and frames come and go: every sample is of
// one instant.
func TestLedgerAddsUpWhileAppendBlocks(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Config, *Deps){
		"no spool, no cluster ever": func(_ *Config, d *Deps) { d.OpenSpool = nil },
		"spool, block":              func(_ *Config, d *Deps) { d.OpenSpool = openTestSpool(t, t.TempDir(), 1<<20) },
		"spool, drop-oldest": func(c *Config, d *Deps) {
			c.SpoolFull, d.OpenSpool = SpoolFullDropOldest, openTestSpool(t, t.TempDir(), 1<<20)
		},
		"spool, drop-newest": func(c *Config, d *Deps) {
			c.SpoolFull, d.OpenSpool = SpoolFullDropNewest, openTestSpool(t, t.TempDir(), 1<<20)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, 4)
			s, n := spooling(t, c, t.TempDir(), edit)
			if s.deps.OpenSpool == nil {
				n.cut()
			} else {
				waitFor(t, func() bool { return s.Stats().InFlight == 0 && s.Ready() == nil })
			}
			ctx, cancel := context.WithCancel(patient(t))
			var work sync.WaitGroup
			for k := range 4 {
				work.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						recs := make([]sink.Record, 32)
						for j := range recs {
							recs[j] = record(fmt.Sprint("k", k, j), i)
						}
						_, _ = s.Append(ctx, recs, nil) // it blocks, and ends with ctx
						_ = s.DeadLetter(ctx, &sink.DeadLetter{Raw: []byte("x"), Reason: "bad_value"}, nil)
					}
				})
			}
			// A third of the samples each: before, in the outage, and after it.
			sampleUntil := func(reached func(st sink.Stats) bool) {
				for i := 0; !t.Failed(); i++ {
					st := s.Stats()
					checkBalance(t, st)
					if i >= 334 && reached(st) || ctx.Err() != nil {
						return
					}
				}
			}
			someTaken := func(st sink.Stats) bool { return st.Admitted > 1000 || s.deps.OpenSpool == nil }
			noRoom := func(st sink.Stats) bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.waiting > 0 && (st.Spooled > 0 || s.deps.OpenSpool == nil) || st.Dropped[DroppedSpoolFull] > 0
			}
			sampleUntil(someTaken)
			n.cut()
			sampleUntil(noRoom)
			before := s.Stats().Delivered
			n.mend()
			sampleUntil(func(st sink.Stats) bool { return st.Delivered > before })
			cancel()
			work.Wait()
			n.mend()
			st := closeSink(t, s)
			checkBalance(t, st)
		})
	}
}
