// Package pipeline is the story of ingest: the parts in the order in which an event meets them.
//
//	listen ──▶ ring[*Body] ──▶ decode ──▶ sink
//
// A request handler reserves a body's bytes at the gate, reads it into a pooled buffer and pushes it
// into the ring. A decoder pops it, walks its events and appends them to the sink; then the buffer goes
// back to the pool and the bytes to the gate. The sink settles every event: delivered, dead-lettered,
// set aside, or dropped for a counted reason. Who waits for the outcome (ack=kafka) is told by the
// last settlement of the body's parts.
//
// Pressure flows the other way: the sink's buffers fill, Append blocks, the ring fills, the gate is
// empty, deliveries wait for --admit-wait and then get 503.
//
// The parts are started back to front and stopped front to back.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"functiongraph-ingest/internal/admin"
	"functiongraph-ingest/internal/bearer"
	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/internal/invocation"
	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/listen"
	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/internal/ownlog"
	"functiongraph-ingest/internal/stop"
	"functiongraph-ingest/internal/tlsconf"
	"functiongraph-ingest/pkg/ring"
	"functiongraph-ingest/pkg/sink"
)

// Config is what users set, already split and validated by package config.
type Config struct {
	Listen    listen.Config
	GateBytes int64 // bodies between the start of their read and their last append
	RingItems int   // bodies that may wait for a decoder
	Decoders  int   // 1 keeps the order of bodies; more do not
	Lenient   bool  // see decode.Options
	// Key is the field of an event that is its key; "": its traceId. NoKey: no event has a key.
	Key    string
	NoKey  bool
	Topics Topics
	// EventTime takes the record's timestamp from the event's startTime, where that is near its admission.
	EventTime bool

	// After Stop has begun deliveries are still taken for LateIntake, or until none came for LateQuiet (0: whatever
	// comes). LateWithin counts this time in ShutdownTimeout.
	LateIntake, LateQuiet time.Duration
	LateWithin            bool

	ListenHealth bool // the listener answers /healthz and /readyz too

	ShutdownTimeout time.Duration // from the first to the last step of a stop
}

// Deps is what developers inject. The sink is started by its maker and closed by the pipeline.
type Deps struct {
	Sink   sink.Sink
	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // nil: time.Now
	// Invocations hears which invocations begin and end; when the last one has ended, the sink is
	// flushed. nil: they are not counted, and linger rules.
	Invocations *invocation.Tracker
	// Intervals knows which invocation wrote a line of the log: see HeaderTrace. nil: records do not say it.
	Intervals *invocation.Intervals
	// Invoked hears the invokedFunctionUrn of invocation events; nil: it is not wanted. Only with Invocations.
	Invoked func(urn string)
	// Machine tells this machine from its copies, for example by boot id and host name. It is asked about once a second
	// while something comes, and must be cheap. nil: it is not asked, and a jump of the clock means nothing.
	Machine func() string
	// Renewed is called when the process may be a copy, restored from a snapshot, after sink and listener have renewed
	// what must be unique. nil: there is nothing else.
	Renewed func()
	// OwnLog recognises events that hold nothing but this process's own log lines. They are left out and
	// counted. nil: there are none.
	OwnLog *ownlog.Log
	// TLS, Tokens and Refresh guard the listener, see listen.Deps.
	TLS     *tlsconf.Server
	Tokens  *bearer.Tokens
	Refresh func()
	// Stir is called when bodies have come. nil: nothing waits for them.
	Stir func()
}

// Pipeline is all parts together. Use [New], then [Pipeline.Start], then [Pipeline.Stop].
type Pipeline struct {
	cfg  Config
	log  *slog.Logger
	sink sink.Sink

	invocations *invocation.Tracker
	intervals   *invocation.Intervals
	onURN       func(urn string)
	ownLog      *ownlog.Log
	stir        func()
	identity    *identity

	room    *body.Room
	ring    *ring.Ring[*body.Body]
	server  *listen.Server
	answers *metrics.Histogram

	// abortCtx ends when the shutdown's time is over: what still waits for room in the sink then is dropped.
	abortCtx context.Context
	abort    context.CancelFunc
	decoders sync.WaitGroup
	serving  chan error // the listener's end
	draining atomic.Bool

	dropped     atomic.Int64 // events that the sink did not take because the process ends
	decoded     waiting      // bodies that are decoded: the others wait
	repaired    atomic.Int64 // bodies of which decode had something to note
	ownLines    atomic.Int64 // events that were left out as our own
	idleFlushes atomic.Int64 // flushes because the last invocation ended
}

// waiting counts bodies and their bytes.
type waiting struct{ bodies, bytes atomic.Int64 }

// New builds the parts. Nothing runs yet.
func New(cfg Config, deps Deps) *Pipeline {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Decoders = max(1, cfg.Decoders)
	p := &Pipeline{
		cfg: cfg, log: deps.Logger, sink: deps.Sink, serving: make(chan error, 1),
		invocations: deps.Invocations, intervals: deps.Intervals, onURN: deps.Invoked, ownLog: deps.OwnLog, stir: deps.Stir,
		identity: newIdentity(&deps), answers: metrics.Seconds(time.Millisecond/8, 64*time.Second),
	}
	var onInvoke func([]byte)
	if p.invocations != nil {
		onInvoke = p.invoked
	}
	p.abortCtx, p.abort = context.WithCancel(context.Background())
	// With as many credits as slots, a body that was reserved always finds a slot.
	p.ring = ring.New[*body.Body](cfg.RingItems)
	p.room = body.NewRoom(body.RoomConfig{Items: p.ring.Cap(), Bytes: cfg.GateBytes, MaxBody: cfg.Listen.MaxBodyBytes, Grace: thawGrace})
	var health func(string) (int, []byte, bool)
	if cfg.ListenHealth {
		health = p.health
	}
	p.server = listen.New(cfg.Listen, listen.Deps{
		Room: p.room, Ring: p.ring, Now: deps.Now, Logger: deps.Logger, OnInvoke: onInvoke,
		TLS: deps.TLS, Tokens: deps.Tokens, Refresh: deps.Refresh, Health: health,
		OnAnswer: func(d time.Duration) { p.answers.Observe(d.Microseconds()) },
	})
	return p
}

// thawGrace is the one second chance of a delivery whose wait at the gate ran out while the instance
// was frozen.
const thawGrace = 50 * time.Millisecond

// Start runs the parts, back to front; the sink runs already. An error means that nothing runs.
func (p *Pipeline) Start() error {
	if err := p.server.Listen(); err != nil {
		p.abort()
		return err
	}
	for range p.cfg.Decoders {
		p.decoders.Go(p.decode)
	}
	go func() { p.serving <- p.server.Serve() }()
	return nil
}

// Addr is the address that takes telemetry.
func (p *Pipeline) Addr() string { return p.server.Addr() }

// Failed delivers the listener's error if it ends before Stop.
func (p *Pipeline) Failed() <-chan error { return p.serving }

// Stop stops the parts, front to back, within ShutdownTimeout (package stop says who has how much of it) or until ctx
// ends, whichever is first: no new bodies (those still being read have their time); the ring empties; the sink
// delivers; the answers go out. What cannot be delivered in time stays on disk, or is dropped with reason
// "shutdown" where there is no room or no spool, and its client gets 504. When ctx ends the stop is
// in a hurry: no client is waited for. Call it once.
func (p *Pipeline) Stop(ctx context.Context) error {
	p.draining.Store(true)
	took := p.lateIntake(ctx)
	if !p.cfg.LateWithin {
		took = 0
	}
	budget := stop.Within(p.cfg.ShutdownTimeout).After(took)
	ctx, cancel := context.WithTimeout(ctx, budget.All)
	defer cancel()
	deliver, cancelDeliver := context.WithTimeout(ctx, budget.Sink)
	defer cancelDeliver()
	// What was accepted still reaches the sink, and with it the disk, when the caller is in a hurry.
	hard := time.AfterFunc(budget.Sink, p.abort)
	defer hard.Stop()
	stopHurry := context.AfterFunc(ctx, func() { hard.Reset(stop.Hurry) })
	defer stopHurry()
	// A client that never ends its body gets 503, and nothing of it is taken.
	read, cancelRead := context.WithTimeout(deliver, budget.Bodies)
	defer cancelRead()

	p.server.Drain()
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	note("bodies still being read", p.server.WaitAdmitted(read))
	p.room.Close()
	p.ring.Close() // a handler that comes later finds it closed and answers 503
	note("bodies that are decoded", p.awaitDecoders())
	note("not everything could be delivered", p.sink.Close(deliver))
	p.server.Abort()
	note("open connections", p.server.Shutdown(ctx))
	p.abort()
	return errors.Join(errs...)
}

// awaitDecoders waits until the ring is empty. When abortCtx ends they leave at once, except one whose event is being set
// aside on a disk that hangs: that may never come back.
func (p *Pipeline) awaitDecoders() error {
	gone := make(chan struct{})
	go func() {
		p.decoders.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-p.abortCtx.Done():
	}
	select {
	case <-gone:
		return nil
	case <-time.After(stop.Hurry):
		return errors.New("the disk does not answer")
	}
}

// lateIntake waits while deliveries are still taken although a stop has begun, and returns how long that was: the
// platform sends the last reports of an instance after SIGTERM, and a balancer needs a while to see /readyz.
func (p *Pipeline) lateIntake(ctx context.Context) time.Duration {
	if p.cfg.LateIntake <= 0 {
		return 0
	}
	const looks = 8 // for deliveries while it is to be quiet
	began := time.Now()
	over := time.NewTimer(p.cfg.LateIntake)
	defer over.Stop()
	quiet := p.cfg.LateQuiet
	if quiet <= 0 {
		quiet = looks * p.cfg.LateIntake // nothing is looked for
	}
	look := time.NewTicker(max(time.Millisecond, quiet/looks))
	defer look.Stop()
	for last, since := p.server.Requests(), began; ; {
		select {
		case <-ctx.Done():
			return time.Since(began)
		case <-over.C:
			return time.Since(began)
		case now := <-look.C:
			if n := p.server.Requests(); n != last {
				last, since = n, now
			} else if now.Sub(since) >= quiet {
				return time.Since(began)
			}
		}
	}
}

// Ready is nil when a delivery that comes now would be answered 200, as far as can be told, else the reason why not.
func (p *Pipeline) Ready() error {
	if p.draining.Load() {
		return errors.New("draining")
	}
	err := p.sink.Ready()
	if errors.Is(err, sink.ErrNoRoom) && !p.cfg.Listen.WaitForAck && p.gateHasRoom() {
		return nil // it waits decoded or not: its answer does not wait with it
	}
	return err
}

// Wake has a sink that rests look for its destination now.
func (p *Pipeline) Wake() {
	if w, ok := p.sink.(sink.Waker); ok {
		w.Wake()
	}
}

// health answers for load balancers what the admin address answers too.
func (p *Pipeline) health(path string) (status int, text []byte, ok bool) {
	if path == "/status" {
		return 0, nil, false // not for everybody who can reach the listener
	}
	h := admin.Health{Ready: p.Ready, Wake: p.Wake, Delivery: p.Delivery}
	reply, ok := h.Answer(path)
	return reply.Status, reply.Body, ok
}

// Delivery says whether events reach the destination.
func (p *Pipeline) Delivery() sink.Delivery { return p.sink.Delivery() }

// gateHasRoom reports whether a body of the largest size would be admitted at once.
func (p *Pipeline) gateHasRoom() bool {
	items, used := p.room.InUse()
	maxItems, limit := p.room.Limits()
	return p.room.Waiting() == 0 && items < maxItems && used+body.Charge(p.cfg.Listen.MaxBodyBytes) <= limit
}

// Ledger is the account of every event. It adds up at every instant: an event is admitted when the sink takes
// it, and until then its body is one of those that wait.
func (p *Pipeline) Ledger() ledger.Ledger {
	st := p.sink.Stats()
	done := ledger.Waiting{Bodies: p.decoded.bodies.Load(), Bytes: p.decoded.bytes.Load()} // before in: never ahead of it
	in := p.server.Stats()
	l := ledger.Ledger{
		Admitted: st.Admitted, Delivered: st.Delivered, DeadLettered: st.DeadLettered, SetAside: st.SetAside,
		Recovered: st.Recovered, Spooled: st.Spooled, InFlight: st.InFlight, Dropped: ledger.Reasons(st.Dropped),
		PossibleDuplicates: st.PossibleDuplicates, DuplicatesSuppressed: st.DuplicatesSuppressed, Idempotent: st.Idempotent,
		OwnLines: p.ownLines.Load(),
		Waiting:  ledger.Waiting{Bodies: max(0, in.BodiesAdmitted-done.Bodies), Bytes: max(0, in.Bytes-done.Bytes)},
		Bodies:   ledger.Bodies{Admitted: in.BodiesAdmitted, Refused: ledger.Reasons(in.Refused), RefusedBytes: in.RefusedBytes},
	}
	if n := p.dropped.Load(); n > 0 {
		if l.Dropped == nil {
			l.Dropped = ledger.Reasons{}
		}
		l.Dropped[sink.DroppedShutdown] += n
		l.Admitted += n
	}
	return l
}

// Gauges are fill levels of the front half, for metrics and the demo.
type Gauges struct {
	RingItems, RingCap int
	GateItems          int
	GateBytes, GateCap int64
	GateWaiting        int
	BodyBytes          int64 // memory of body buffers, lent and idle
	OddBodies          int64 // not quite JSON, but nothing was lost by it: see decode.Notes
	Listen             listen.Stats
}

// Gauges reads the fill levels.
func (p *Pipeline) Gauges() Gauges {
	items, used := p.room.InUse()
	_, limit := p.room.Limits()
	return Gauges{
		RingItems: p.ring.Len(), RingCap: p.ring.Cap(), GateItems: items, GateBytes: used, GateCap: limit,
		GateWaiting: p.room.Waiting(), BodyBytes: p.room.Bytes(),
		OddBodies: p.repaired.Load(), Listen: p.server.Stats(),
	}
}
