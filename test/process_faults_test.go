package test

import (
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/oracle"
	"functiongraph-ingest/test/proc"
)

// kill -9 in the middle of load with --ack=kafka, several times at the same address: what was answered 200
// is in the topic, once and in order. What was under way may or may not be there, once.
func TestKilledUnderLoadLosesNothingAcked(t *testing.T) {
	k := kafka(t)
	k.Topic(t, "killed-process", 4, nil)
	bin := proc.Build(t)
	o := proc.Serve(bin, k.Bootstrap(), "killed-process", "--ack", "kafka")
	const conns, rounds = 32, 5
	judge := oracle.New(conns)
	for range rounds {
		p := proc.Start(t, o)
		o.Listen, o.Admin = p.Listen, p.Admin
		r, err := load.Start(t.Context(), load.Options{
			Addr: p.Listen, Conns: conns, Profile: load.Profile{Events: 50, Marked: true, Seed: 4}, Recorder: judge,
		})
		must(t, err)
		p.WaitLedger(t, time.Minute, "20,000 events delivered", func(l *proc.Ledger) bool { return l.Delivered >= 20_000 })
		must(t, p.Kill())
		<-p.Exited()
		r.Stop()
	}
	report := judge.MustRead(t, k.Bootstrap(), "killed-process")
	t.Log(report)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Acked < rounds*15_000 {
		t.Errorf("only %d events acked", report.Acked)
	}
}

// The process is frozen for 8 s under load, as the platform freezes an instance between invocations.
func TestFrozenProcessGoesOn(t *testing.T) {
	k := kafka(t)
	f := fault{topic: "frozen-process", rate: 25_000, total: 150_000, args: []string{"--ack", "kafka"},
		trouble: func(t *testing.T, p *proc.Process) {
			must(t, p.Freeze())
			away(t, 8*time.Second)
			must(t, p.Thaw())
		}}
	l, report := f.run(t, k)
	if l.PossibleDuplicates != 0 || report.Repeated != 0 {
		t.Errorf("possible duplicates %d, repeated %d", l.PossibleDuplicates, report.Repeated)
	}
}
