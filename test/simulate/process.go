package simulate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/test/simulate/simkafka"
)

const (
	spoolMax     = 512 << 10
	spoolSegment = 32 << 10
	oversize     = 40 << 10
	bigEvent     = 20 << 10

	requestTimeout = 500 * time.Millisecond
)

// process is one life of the program: a sink, its sources and what they were told.
type process struct {
	w         *world
	life      int
	fs        *spooltest.FS
	sink      *kafka.Sink
	dead      atomic.Bool
	ctx       context.Context
	cancel    context.CancelFunc
	busyUntil time.Time // another process holds the directory

	appenders []*appender
	taken     int64      // guarded by oracle.mu
	closing   chan error // of the Close that runs; hurry ends its time
	hurry     context.CancelFunc
	stats     sink.Stats // when it had ended
}

// appender is one source: a goroutine that appends what it is told to.
type appender struct {
	p       *process
	id      int
	work    chan task
	busy    atomic.Bool
	records atomic.Int64 // of the call that it is in
	since   time.Time    // of the call; guarded by oracle.mu, as dead is
	dead    bool         // it is a dead letter
}

type task struct {
	recs []sink.Record
	dead *sink.DeadLetter
	ack  *ack
}

func (w *world) newProcess() *process {
	p := &process{w: w, life: w.lives, fs: w.disk}
	w.lives++
	w.oracle.begins(p.life, w.prof.expiry)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	pr := &w.prof
	cfg := kafka.Config{
		Brokers: []string{"sim:9092"}, Topic: mainTopic, MoreTopics: mainTopics[1:pr.topics], DeadLetterTopic: deadTopic, Codec: pr.codec, Linger: pr.linger,
		BatchBytes: pr.batch, BufferBytes: pr.buffers, OversizeBytes: oversize, Settle: pr.settle, SpoolFull: pr.policy,
		RequestTimeout: requestTimeout, RetryMin: 5 * time.Millisecond, RetryMax: 200 * time.Millisecond, MetadataTTL: 10 * time.Second,
		ReplayBytes: 64 << 10, DeadSpoolBytes: 128 << 10, StowTime: time.Second,
	}
	deps := kafka.Deps{Logger: w.logger(p.life), NewTransport: func() kafka.Transport {
		return simkafka.NewTransport(p)
	}}
	if pr.spool {
		p.fs.SetGate(p.disk)
		deps.OpenSpool = p.openSpool
	}
	s, err := kafka.New(cfg, deps)
	if err != nil {
		panic(err)
	}
	p.sink = s
	for i := range pr.appenders {
		a := &appender{p: p, id: i, work: make(chan task, 1)}
		p.appenders = append(p.appenders, a)
		go a.run()
	}
	return p
}

func (w *world) spoolConfig() spool.Config {
	return spool.Config{Dir: "d", MaxBytes: spoolMax, SegmentBytes: spoolSegment, KeepFree: w.prof.keepFree, MaxFrames: w.prof.frames}
}

func (p *process) openSpool() (diskqueue.Spool, error) {
	if time.Now().Before(p.busyUntil) {
		return nil, fmt.Errorf("%w: simulated", diskqueue.ErrBusy)
	}
	sp, err := spool.Open(p.w.spoolConfig(), spool.Deps{FS: p.fs, Boot: fmt.Sprint("boot ", p.w.boots), Logger: p.w.logger(p.life)})
	if err != nil {
		return nil, err
	}
	p.w.mu.Lock()
	p.w.spoolOpen = true
	p.w.mu.Unlock()
	return sp, nil
}

func (a *appender) run() {
	o := a.p.w.oracle
	for t := range a.work {
		n, err := 0, error(nil)
		if t.dead != nil {
			if err = a.p.sink.DeadLetter(a.p.ctx, t.dead, t.ack); err == nil {
				n = 1
			}
		} else {
			n, err = a.p.sink.Append(a.p.ctx, t.recs, t.ack)
		}
		want := len(t.ack.events)
		t.ack.returned(n)
		o.mu.Lock()
		a.p.taken += int64(n)
		if err == nil && n != want {
			o.violate("append took %d of %d without an error", n, want)
		}
		o.mu.Unlock()
		a.records.Store(0)
		a.busy.Store(false)
	}
}

// give hands a task to the appender, which must be idle.
func (a *appender) give(t task) {
	a.p.w.oracle.mu.Lock()
	a.since, a.dead = time.Now(), t.dead != nil
	a.p.w.oracle.mu.Unlock()
	a.records.Store(int64(len(t.ack.events)))
	a.busy.Store(true)
	a.work <- t
}

// Cluster implements simkafka.Gate.
func (p *process) Cluster() *simkafka.Cluster {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.w.cluster
}

var errIO = syscall.EIO

// disk is the file system's gate.
func (p *process) disk(op spooltest.Op, name string) error {
	w := p.w
	switch op {
	case spooltest.OpWrite, spooltest.OpSync, spooltest.OpSyncDir, spooltest.OpRead, spooltest.OpCreate:
	default:
		return nil
	}
	w.mu.Lock()
	if p.dead.Load() {
		w.mu.Unlock()
		return nil
	}
	if w.diskFails(op) {
		w.mu.Unlock()
		return errIO
	}
	if !w.diskWaits() {
		w.mu.Unlock()
		return nil
	}
	k := w.parkLocked(p, nil)
	k.op, k.name = op, name
	w.mu.Unlock()
	return (<-k.done).err
}

// atDisk reports whether the process waits for the disk.
func (p *process) atDisk() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return slices.ContainsFunc(p.w.parked, func(k *parked) bool { return k.p == p && k.call == nil })
}

// release ends what the process waits for, as its end does: nothing of it hears an answer.
func (p *process) release() {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	p.dead.Store(true)
	kept := w.parked[:0]
	for _, k := range w.parked {
		if k.p != p {
			kept = append(kept, k)
			continue
		}
		w.abandonLocked(k)
		k.done <- verdict{err: simkafka.ErrDown}
	}
	w.parked = kept
}

// kill ends the process as kill -9 does: it hears and says nothing from here on. Its goroutines still have to end.
func (p *process) kill() {
	p.release()
	p.cancel()
	if p.closing != nil {
		p.hurry()
		<-p.closing
	} else {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.sink.Close(ended)
	}
	p.end()
}

// end waits for what is left of a process whose sink is closed.
func (p *process) end() {
	for _, a := range p.appenders {
		close(a.work)
	}
	p.appenders = nil
	p.cancel()
}

func (w *world) logger(life int) *slog.Logger {
	h := slog.DiscardHandler
	if w.trace != nil {
		h = slog.NewTextHandler(&traceWriter{w, life}, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	return slog.New(listener{h, w.oracle})
}

// listener hears of a topic that has fewer partitions from now on, which nothing but the log tells of a process that had more.
type listener struct {
	slog.Handler
	o *oracle
}

func (l listener) Enabled(ctx context.Context, level slog.Level) bool {
	return level == slog.LevelWarn || l.Handler.Enabled(ctx, level)
}

func (l listener) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "a topic was made anew with fewer partitions;") {
		var topic string
		var is int
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "topic":
				topic = a.Value.String()
			case "is":
				is = int(a.Value.Int64())
			}
			return true
		})
		l.o.shrinks(topic, is)
	}
	return l.Handler.Handle(ctx, r)
}

type traceWriter struct {
	w    *world
	life int
}

func (t *traceWriter) Write(b []byte) (int, error) {
	t.w.print("  process %d: %s", t.life, b[:len(b)-1]) // not a part of the hash: others are not logged
	return len(b), nil
}
