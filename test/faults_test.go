package test

import (
	"context"
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/cutproxy"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/oracle"
	"functiongraph-ingest/test/proc"
)

// fault is one trial: a load at a fixed rate, something that goes wrong in the middle of it, and the
// judgement of a consumer that shares no code with ingest.
type fault struct {
	topic string
	args  []string
	rate  float64 // events per second
	total int64   // events
	// trouble runs when a quarter of the load is over. It makes the trouble and ends it.
	trouble func(t *testing.T, p *proc.Process)
	brokers string // empty: the cluster's own addresses
}

// run returns the ledger after a stop and what the oracle saw.
func (f *fault) run(t *testing.T, k *kafkatest.Cluster) (*proc.Ledger, *oracle.Report) {
	t.Helper()
	k.Topic(t, f.topic, 4, nil)
	if f.brokers == "" {
		f.brokers = k.Bootstrap()
	}
	p := proc.Start(t, proc.Serve(proc.Build(t), f.brokers, f.topic, f.args...))
	const conns = 32
	o := oracle.New(conns)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	r, err := load.Start(ctx, load.Options{
		Addr: p.Listen, Conns: conns, Profile: load.Profile{Events: 100, Marked: true, Seed: 1},
		MaxRate: f.rate, MaxEvents: f.total, RetryAfter: true, Recorder: o,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.WaitLedger(t, time.Minute, "a quarter of the load", func(l *proc.Ledger) bool { return l.Admitted >= f.total/4 })
	f.trouble(t, p)
	res := r.Wait()
	for _, phase := range res {
		t.Logf("load: %.0f events/s, statuses %v, no reply %d, p99 %v", phase.EventsPerSecond(), phase.Status, phase.NoReply, phase.Latency.Quantile(0.99))
	}
	code, l := p.MustStop(t)
	report := o.MustRead(t, k.Bootstrap(), f.topic)
	t.Logf("exit %d, ledger %+v", code, *l)
	t.Logf("oracle: %v", report)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Acked < 100_000 {
		t.Errorf("only %d events acked", report.Acked)
	}
	if code != 0 || l.DroppedTotal() != 0 {
		t.Errorf("exit %d, dropped %v", code, l.Dropped)
	}
	if err := l.Balance(); err != nil {
		t.Error(err)
	}
	if n, err := k.Count(f.topic); err != nil || n != l.Delivered {
		t.Errorf("%d records in the topic, ledger says %d delivered (%v)", n, l.Delivered, err)
	}
	return l, report
}

// away lets the load run on for a while in its present state; the faults are defined by how long they last.
func away(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The three faults of a broker, each at 20,000 events/s or more: nothing acked lost, nothing doubled that
// was posted once, nothing out of order; and over all of them duplicates were suppressed, else no fault
// hit an answer.
func TestBrokerFaults(t *testing.T) {
	suppressed := int64(0)
	fleet := cutproxy.NewFleet(1)
	t.Cleanup(func() { must(t, fleet.Close()) })
	k := kafkatest.Start(t, kafkatest.WithAdvertise(fleet.Advertise))
	for _, ack := range []string{"kafka", "accept"} {
		trials := map[string]fault{
			"killed and back after 10 s": {topic: "killed-" + ack, trouble: func(t *testing.T, _ *proc.Process) {
				must(t, k.Kill(0))
				away(t, 10*time.Second)
				must(t, k.Restart(0))
			}},
			"frozen for 10 s": {topic: "frozen-" + ack, trouble: func(t *testing.T, _ *proc.Process) {
				must(t, k.Freeze(0))
				away(t, 10*time.Second)
				must(t, k.Thaw(0))
			}},
			"every 20th answer cut": {topic: "cut-" + ack, brokers: k.Advertised(), trouble: func(t *testing.T, _ *proc.Process) {
				fleet.Set(cutproxy.Faults{Cut: 0.05, CutKeys: []int16{cutproxy.KeyProduce}})
				away(t, 4*time.Second)
				fleet.Set(cutproxy.Faults{})
			}},
		}
		for name, f := range trials {
			t.Run(ack+"/"+name, func(t *testing.T) {
				f.rate, f.total = 25_000, 150_000
				f.args = []string{"--ack", ack, "--codec", "none"}
				l, report := f.run(t, k)
				suppressed += l.DuplicatesSuppressed
				if l.PossibleDuplicates != 0 {
					t.Errorf("possible duplicates %d", l.PossibleDuplicates)
				}
				if report.Repeated != 0 {
					t.Errorf("%d delivered more than once", report.Repeated)
				}
			})
		}
	}
	if suppressed == 0 {
		t.Error("no duplicate was suppressed: the faults hit nothing")
	}
	t.Logf("duplicates suppressed in all: %d", suppressed)
}

// SIGTERM under load: everything answered 200 is in Kafka, the ledger is in balance, exit 0.
func TestTerminateUnderLoad(t *testing.T) {
	k := kafka(t)
	for _, ack := range []string{"kafka", "accept"} {
		t.Run(ack, func(t *testing.T) {
			topic := "terminated-" + ack
			k.Topic(t, topic, 4, nil)
			p := proc.Start(t, proc.Serve(proc.Build(t), k.Bootstrap(), topic, "--ack", ack))
			const conns = 64
			o := oracle.New(conns)
			r, err := load.Start(t.Context(), load.Options{
				Addr: p.Listen, Conns: conns, Profile: load.Profile{Events: 20, Marked: true, Seed: 2}, Recorder: o,
			})
			must(t, err)
			p.WaitLedger(t, time.Minute, "50,000 events", func(l *proc.Ledger) bool { return l.Admitted >= 50_000 })
			code, l := p.MustStop(t)
			r.Stop()
			report := o.MustRead(t, k.Bootstrap(), topic)
			t.Logf("exit %d, %v, ledger %+v", code, report, *l)
			if err := report.Err(); err != nil {
				t.Error(err)
			}
			if err := l.Balance(); err != nil || code != 0 || l.DroppedTotal() != 0 {
				t.Errorf("exit %d, dropped %v, %v", code, l.Dropped, err)
			}
			if n, err := k.Count(topic); err != nil || n != l.Delivered {
				t.Errorf("%d records in the topic, ledger says %d delivered (%v)", n, l.Delivered, err)
			}
		})
	}
}
