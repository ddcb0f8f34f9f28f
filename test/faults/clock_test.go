package faults

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/internal/listen"
	"functiongraph-ingest/internal/pipeline"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/oracle"
)

// TestClockSteps: the wall clock jumps forth and back under load. A machine's clock cannot be turned for one
// process, so the parts run in this one, with a clock of their own.
func TestClockSteps(t *testing.T) {
	k := kafkatest.Start(t)
	for name, steps := range map[string][]time.Duration{
		"back and forth by up to an hour": {50 * time.Minute, -50 * time.Minute, 0, 30 * time.Minute, -time.Hour, 0},
		"back by a year, and to 1970":     {-365 * 24 * time.Hour, 0, -time.Since(time.Unix(1, 0)), 0},
		"ahead by a day":                  {24 * time.Hour, 0}, // further than the broker takes
	} {
		t.Run(name, func(t *testing.T) { clockSteps(t, k, topicName("clock", name), steps) })
	}
}

func clockSteps(t *testing.T, k *kafkatest.Cluster, topic string, steps []time.Duration) {
	k.Topic(t, topic, 4, nil)
	var off atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
	s, err := kafka.New(kafka.Config{
		Brokers: []string{k.Bootstrap()}, Topic: topic, Linger: time.Millisecond, Settle: kafka.SettleOnDisk,
	}, kafka.Deps{Logger: quiet(), OpenSpool: func() (diskqueue.Spool, error) {
		return spool.Open(spool.Config{Dir: filepath.Join(t.TempDir(), "spool")}, spool.Deps{Now: now})
	}})
	must(t, err)
	p := pipeline.New(pipeline.Config{
		Listen:    listen.Config{Addr: "127.0.0.1:0", MaxBodyBytes: 4 << 20, MaxConns: 100, AckTimeout: time.Minute, WaitForAck: true, Events: true},
		GateBytes: 16 << 20, RingItems: 1024, Decoders: 1, ShutdownTimeout: time.Minute,
	}, pipeline.Deps{Sink: s, Now: now})
	must(t, p.Start())
	judge := oracle.New(defaultConns)
	l, err := load.Start(t.Context(), load.Options{
		Addr: p.Addr(), Conns: defaultConns, Profile: load.Profile{Events: perBody, Marked: true, Keys: 8, Seed: 1},
		MaxRate: defaultRate, MaxEvents: 120_000, RetryAfter: true, Recorder: judge,
	})
	must(t, err)
	for i, step := range steps {
		part := int64(20_000 * (i + 1))
		waitFor(t, "part of the load", func() bool { return p.Ledger().Admitted >= part })
		off.Store(int64(step))
	}
	l.Wait()
	waitFor(t, "everything settled", func() bool {
		st := s.Stats()
		return st.InFlight == 0 && st.Spooled == 0
	})
	must(t, p.Stop(context.Background()))
	books := p.Ledger()
	report, err := judge.Read(t.Context(), k.Bootstrap(), topic)
	must(t, err)
	t.Log(report, books.String())
	in, out := books.Admitted+books.Recovered, books.Delivered+books.DeadLettered+books.SetAside+books.Spooled+books.InFlight+books.Dropped.Sum()
	if in != out {
		t.Errorf("ledger: %d in, %d out", in, out)
	}
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if books.Dropped.Sum() != 0 || books.PossibleDuplicates != 0 || report.Acked != 120_000 {
		t.Errorf("acked %d, dropped %v, possible duplicates %d", report.Acked, books.Dropped, books.PossibleDuplicates)
	}
}
