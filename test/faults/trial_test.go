package faults

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/test/cutproxy"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/oracle"
	"functiongraph-ingest/test/proc"
)

const (
	defaultConns = 32
	perBody      = 50
	defaultRate  = 25_000
	defaultTotal = 150_000
	patience     = 3 * time.Minute // for whatever takes seconds on a machine of its own
)

// lab is what all trials of a cluster share.
type lab struct {
	kafka *kafkatest.Cluster
	fleet *cutproxy.Fleet
}

func newLab(t *testing.T, opts ...kafkatest.Option) *lab {
	t.Helper()
	l := &lab{fleet: cutproxy.NewFleet(1)}
	t.Cleanup(func() { must(t, l.fleet.Close()) })
	l.kafka = kafkatest.Start(t, append(opts, kafkatest.WithAdvertise(l.fleet.Advertise))...)
	return l
}

// trial is one row in one mode, under way.
type trial struct {
	*testing.T
	*lab
	row   *row
	mode  mode
	topic string
	dir   string // of the spool; "" without
	opts  proc.Options
	lives []*life // of ingest, oldest first; the last one runs
	judge *oracle.Oracle
	load  *load.Run
	note  string // what else the table shall say
	// read were delivered, judged and deleted.
	read int64
}

// life is one process of ingest, from its start to its end.
type life struct {
	*proc.Process
	killed bool
	code   int
	ledger *proc.Ledger       // the last line; nil if it was killed
	last   map[string]float64 // the metrics shortly before the end
	left   leftover           // what it left in the spool
	peak   int64              // RSS
}

// leftover is what an inspection of a spool directory found.
type leftover struct{ frames, events int64 }

var notForTopics = regexp.MustCompile(`[^a-z0-9.-]+`)

func topicName(parts ...string) string {
	return strings.Trim(notForTopics.ReplaceAllString(strings.ToLower(strings.Join(parts, "-")), "-"), "-")
}

// try runs one row in one mode and returns the judgement, which is also tested against the promise.
func (l *lab) try(t *testing.T, r *row, m mode) *result {
	tr := l.prepare(t, r, m)
	if r.unready {
		tr.startUnready()
		tr.post()
	} else {
		tr.start()
		tr.post()
		tr.awaitAdmitted(tr.total() / 4)
	}
	r.trouble(tr)
	phases := tr.load.Wait()
	tr.settle()
	awaitSamples(t)
	tr.stop()
	res := tr.result(phases)
	tr.hold(res, r.promise(m))
	if r.check != nil {
		r.check(tr, res)
	}
	return res
}

func (l *lab) prepare(t *testing.T, r *row, m mode) *trial {
	t.Helper()
	t.Cleanup(func() { l.repair(t) })
	tr := &trial{T: t, lab: l, row: r, mode: m, topic: topicName(r.fault, m.String()), judge: oracle.New(r.connections())}
	l.kafka.Topic(t, tr.topic, 4, r.topic)
	args := append([]string{"--ack", m.ack}, r.args...)
	if m.spool {
		if tr.dir = filepath.Join(t.TempDir(), "spool"); r.disk != 0 {
			tr.dir = tr.mountSmall(r.disk)
			args = append(args, "--spool-in-memory")
		}
		args = append(args, "--spool-dir", tr.dir)
		if !strings.Contains(strings.Join(args, " "), "--spool-max") {
			args = append(args, "--spool-max", "1GiB", "--spool-keep-free", "16MiB")
		}
	}
	brokers := l.kafka.Bootstrap()
	switch {
	case r.login:
		brokers = l.kafka.SASL()
		args = append(args, "--sasl-mechanism", "SCRAM-SHA-256", "--sasl-user", user, "--sasl-password", password)
	case r.proxy:
		brokers = l.kafka.Advertised()
	}
	tr.opts = proc.Serve(proc.Build(t), brokers, tr.topic, args...)
	return tr
}

// repair brings back what a trial that failed half way has left broken.
func (l *lab) repair(t *testing.T) {
	if !t.Failed() {
		return
	}
	l.fleet.Set(cutproxy.Faults{})
	for i := range l.kafka.Brokers() {
		must(t, l.fleet.Proxy(i).Refuse(false))
		_ = l.kafka.Thaw(i) // it may be gone
		must(t, l.kafka.Restart(i))
	}
}

func (tr *trial) total() int64 {
	if tr.row.events != 0 {
		return tr.row.events
	}
	return defaultTotal
}

func (r *row) connections() int {
	if r.conns != 0 {
		return r.conns
	}
	return defaultConns
}

func (tr *trial) rate() float64 {
	if tr.row.rate != 0 {
		return tr.row.rate
	}
	return defaultRate
}

// start begins the next life, at the addresses and with the spool of the one before.
func (tr *trial) start() *life {
	tr.Helper()
	return tr.begin(start(tr.T, tr.opts))
}

// startUnready is start for a life that does not get ready now.
func (tr *trial) startUnready() *life {
	tr.Helper()
	l := tr.begin(startUnready(tr.T, tr.opts))
	tr.awaitAnswer(l)
	return l
}

func (tr *trial) begin(p *proc.Process) *life {
	l := &life{Process: p}
	tr.opts.Listen, tr.opts.Admin = l.Listen, l.Admin
	tr.lives = append(tr.lives, l)
	return l
}

func (tr *trial) awaitAnswer(l *life) {
	tr.Helper()
	tr.await("an answer", func() bool {
		status, _, err := l.Get("/healthz")
		return err == nil && status == 200
	})
}

// await polls until cond holds.
func (tr *trial) await(what string, cond func() bool) {
	tr.Helper()
	ctx, cancel := context.WithTimeout(tr.Context(), patience)
	defer cancel()
	for !cond() {
		select {
		case <-ctx.Done():
			tr.Fatalf("never saw %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (tr *trial) now() *life { return tr.lives[len(tr.lives)-1] }

// post begins the load.
func (tr *trial) post() {
	tr.Helper()
	events := tr.total()
	if tr.row.endless {
		events = 0
	}
	var err error
	tr.load, err = load.Start(tr.Context(), load.Options{
		Addr: tr.now().Listen, Conns: tr.row.connections(), Profile: load.Profile{Events: perBody, Marked: true, Keys: 8, Seed: 1},
		MaxRate: tr.rate(), MaxEvents: events, RetryAfter: true, Recorder: tr.judge, Timeout: 2 * time.Minute,
	})
	must(tr, err)
}

func (tr *trial) awaitAdmitted(n int64) {
	tr.Helper()
	tr.now().WaitLedger(tr, patience, "part of the load", func(l *proc.Ledger) bool { return l.Admitted >= n })
}

// settle waits until this life has nothing under way any more, in memory or on disk.
func (tr *trial) settle() {
	tr.Helper()
	tr.now().WaitLedger(tr, patience, "an end of what is under way", func(l *proc.Ledger) bool {
		return l.InFlight == 0 && l.Spooled == 0 && l.Admitted+l.Recovered > 0
	})
}

// forget begins the judgement anew: the topic, with n events in it, is gone.
func (tr *trial) forget(n int) {
	tr.judge = oracle.New(tr.row.connections())
	tr.read += int64(n)
}

// look notes the metrics of the running life, as far as it answers.
func (tr *trial) look() {
	l := tr.now()
	if m, err := l.Metrics(); err == nil {
		l.last = m
	}
	if peak, err := l.PeakRSS(); err == nil {
		l.peak = peak
	}
}

// stop ends the running life with SIGTERM.
func (tr *trial) stop() {
	tr.Helper()
	l := tr.now()
	tr.look()
	l.code, l.ledger = end(tr.T, l.Process)
	l.left = tr.inspect()
	if l.ledger.Spooled != l.left.events {
		tr.Errorf("the ledger says %d events are spooled, the directory has %d", l.ledger.Spooled, l.left.events)
	}
}

// kill ends the running life with SIGKILL.
func (tr *trial) kill() {
	tr.Helper()
	l := tr.now()
	tr.look()
	must(tr, l.Kill())
	<-l.Exited()
	l.killed, l.left = true, tr.inspect()
}

// endAll kills what still runs, for a trial that failed half way.
func (tr *trial) endAll() {
	for _, l := range tr.lives {
		must(tr, l.Kill())
		<-l.Exited()
	}
}

// inspect scans the spool directory.
func (tr *trial) inspect() (d leftover) {
	tr.Helper()
	if tr.dir == "" {
		return d
	}
	_, err := spool.Inspect(spool.Inspection{Dir: tr.dir}, func(p *spool.Piece) error {
		if p.Kind == spool.KindFrame {
			d.frames++
			d.events += int64(p.Frame.Events)
		}
		return nil
	})
	must(tr, err)
	return d
}
