// Package kafka is the sink that publishes to Apache Kafka, idempotently, over kafka-go's Transport.
//
// An event is copied once, straight into the open record batch of its partition (package recordbatch).
// A lane is one partition's queue of batches; each broker has two workers, and each of their requests
// carries one batch of every ready lane that broker leads. While a request is under way the next
// batches grow. A batch is stamped with producer id and sequence when it is first sent; until it is
// resolved exactly these bytes are sent again, so the broker recognises what it already has.
//
//	Append ─▶ lane.open ─seal─▶ lane.queue ─take─▶ lane.doubt ─request─▶ broker ─answer─▶ settled
//
// With a spool (Deps.OpenSpool) batches outlive an outage and the process: see spooler.
//
// Goroutines: two workers per broker, one steward (leaders, producer id, topics), and with a spool one that
// writes to it and one that waits for the disk; Close ends and waits for all of them. One mutex guards lanes and queues; it is held for one call of Append (at most
// a few dozen records) or one collection of a request, never over I/O, compression or checksums.
package kafka

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Sink publishes records to one topic and dead letters to another. It implements sink.Sink.
type Sink struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	client *client
	pool   *recordbatch.Pool
	ctx    context.Context // ends when Close gives up or is done
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	kick   chan struct{} // wakes the steward
	clock  thawClock
	sight  sight

	closing slot // held by Close; guards ended
	ended   bool

	mu            sync.Mutex
	count         account
	atEnd         account // what Close left behind had when it returned
	numbers       numbers
	marks         marks
	closed        bool
	main          topic
	dead          topic
	brokers       map[int32]*broker
	current       producer
	standstill    standstill
	cluster       string // its id; "": not known yet, or the brokers have none
	want          wants
	room          chan struct{} // closed and replaced when an appender may try again
	waiting       int           // appenders that wait on room
	drained       chan struct{} // closed when closed and nothing is unsettled
	free          []*batch
	alarms        map[string]time.Time
	expiry        time.Duration        // how long brokers remember a producer
	unsafe        bool                 // no producer ids (PreferIdempotence and refused)
	able          abilities            // of the brokers; all until they have told
	asked         bool                 // they have
	clusterSize   int                  // brokers of the last metadata answer
	instance      int                  // hash of Config.Instance for KeylessInstance
	deadCounts    map[string]deadCount // by reason
	deadToldAt    time.Time
	lastDead      [lastDead]sink.DeadNote // a ring: the newest is before nextDead
	nextDead      int
	throttled     time.Duration
	requestErrors map[int32]int64 // requests without an answer, by broker
	spooler       spooler
	reporter      reporter
	replay        replay
	started       time.Time
	changes       bell
	workers       []*worker

	serve        func(*broker)
	wantsFrame   func(*lane)
	firstReached func()
	kafkaTrouble func() error

	codec      atomic.Uint32 // of new batches: Config.Codec, or what the brokers take in its place
	unfinished atomic.Bool   // endFrames has something to do
	resting    atomic.Bool   // the steward sleeps long because nothing waits: stir ends it

	spilledFrames, replayedFrames, syncs            atomic.Int64
	possibleDuplicates, duplicatesSuppressed        atomic.Int64
	requests, batches, wireBytes, rawBytes, retries atomic.Int64
	splits, renewals, refreshes                     atomic.Int64
	collisions                                      atomic.Int64
	thaws                                           atomic.Int64
}

var (
	_ sink.Sink  = (*Sink)(nil)
	_ sink.Waker = (*Sink)(nil)
)

// New starts a sink. It does not wait for the cluster: Ready tells when it can deliver.
func New(cfg Config, deps Deps) (*Sink, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.fastSync == 0 {
		deps.fastSync = fastSync
	}
	if deps.stuckAfter == 0 {
		deps.stuckAfter = stuckAfter
	}
	if deps.placingPatience == 0 {
		deps.placingPatience = placingPatience
	}
	cl, err := newClient(&cfg, &deps)
	if err != nil {
		return nil, err
	}
	s := &Sink{
		cfg: cfg, deps: deps, log: deps.Logger, client: cl,
		pool:    recordbatch.NewPool(cfg.BufferBytes),
		brokers: map[int32]*broker{},
		kick:    make(chan struct{}, 1), room: make(chan struct{}), drained: make(chan struct{}),
		count: account{dropped: map[string]int64{}}, deadCounts: map[string]deadCount{}, requestErrors: map[int32]int64{}, alarms: map[string]time.Time{},
		clock:   thawClock{epoch: time.Now()},
		closing: newSlot(),
		expiry:  24 * time.Hour, started: time.Now(), able: all,
	}
	s.changes = newBell()
	s.serve, s.firstReached, s.kafkaTrouble = s.startWorkers, s.tellReached, s.kafkaLocked
	s.codec.Store(uint32(cfg.Codec))
	if cfg.Codec == recordbatch.None {
		s.pool.SumEarly()
	}
	if deps.OpenSpool != nil {
		s.replay.pool = recordbatch.NewPool(cfg.ReplayBytes)
		s.spooler.holding, s.spooler.writing = true, newSlot()
		if cfg.Settle == SettleOnDisk {
			s.wantsFrame = s.frameWanted
		}
		s.spooler.kick, s.spooler.syncKick = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.main = topic{sink: s, name: cfg.Topic, limit: cfg.BatchBytes}
	s.dead = topic{sink: s, name: cfg.DeadLetterTopic, limit: cfg.BatchBytes, dead: true}
	// Every topic has a partition 0, so dead letters have a lane before their topic is known or made.
	s.dead.addLanes(1)
	if cfg.Keyless == KeylessInstance {
		s.instance = int(recordbatch.Murmur2([]byte(cfg.Instance)) & 0x7fffffff)
	}
	s.numbers.headers = cfg.Headers
	s.numbers.begin(0)
	s.want.producer = true
	s.tasks.Go(s.steward)
	s.tasks.Go(s.report)
	if deps.OpenSpool != nil {
		s.tasks.Go(s.runSpooler)
	}
	return s, nil
}

func (t *topic) addLanes(n int) {
	for len(t.lanes) < n {
		l := &lane{topic: t, partition: int32(len(t.lanes))}
		t.lanes = append(t.lanes, l)
		l.attach(t.sink.spooler.sp)
	}
}

// Flush implements sink.Sink.
func (s *Sink) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.lanes() {
		if l.open != nil {
			l.open.opened = time.Time{} // it may still grow until a request is free
			l.signal()
			l.wantFrame()
		}
	}
}

// Close implements sink.Sink. With a spool, Kafka has its time until ctx ends or StowTime before its
// deadline; the rest of the time belongs to the disk. A later call waits for the first one
// and returns nil.
func (s *Sink) Close(ctx context.Context) error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.ended {
		return nil
	}
	s.ended = true
	return s.close(ctx)
}

func (s *Sink) close(ctx context.Context) error {
	kafka, cancel := s.kafkasTime(ctx)
	defer cancel()
	s.mu.Lock()
	if !s.closed {
		s.reportLosses(true)
		s.closed = true
		if s.spooler.kick != nil {
			wake(s.spooler.kick)
		}
		s.madeRoom()
		for _, b := range s.brokers {
			b.signal()
		}
		s.checkDrained()
	}
	s.mu.Unlock()
	err := s.awaitDrained(kafka)
	s.cancel()
	if s.deps.OpenSpool == nil {
		return errors.Join(err, s.end())
	}
	ended := make(chan error, 1)
	go func() { ended <- s.end() }()
	disk := time.NewTimer(s.disksTime(ctx))
	defer disk.Stop()
	select {
	case e := <-ended:
		return errors.Join(err, e)
	case <-disk.C:
		s.leaveBehind()
		s.log.Error("the disk does not answer, and the end does not wait for it: what is in memory and not on disk is lost")
		return errors.Join(err, errLeftBehind)
	}
}

// awaitDrained waits until nothing is unsettled, Kafka's time is over, or the spool takes everything because Kafka was
// never there.
func (s *Sink) awaitDrained(kafka context.Context) error {
	look := time.NewTicker(lookForHope)
	defer look.Stop()
	for !s.hopeless() {
		select {
		case <-s.drained:
			return nil
		case <-kafka.Done():
			return context.Cause(kafka)
		case <-look.C:
		}
	}
	select {
	case <-s.drained:
		return nil
	default:
		return errNeverReached
	}
}

// errNeverReached: Close did not wait for Kafka.
var errNeverReached = errors.New("no broker was ever reached: what is left is in the spool")

// lookForHope is how often the end asks whether Kafka can still come.
const lookForHope = 50 * time.Millisecond

// hopeless reports whether waiting for Kafka is in vain: it was never reached, a look at it has failed, and everything
// fits on the disk. A broker that does answer, and refuses, has warnAfter to change its mind: clusters that start say many things.
func (s *Sink) hopeless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, p := &s.reporter, &s.spooler
	if r.reached || r.found.kind == noTrouble || p.sp == nil || p.err != nil {
		return false
	}
	return r.found.kind == unreachable || r.found.kind == unresolved || time.Since(r.foundAt) >= warnAfter
}

// disksTime is how long the end waits for the disk.
func (s *Sink) disksTime(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return leastAtTheEnd
	}
	return max(time.Until(deadline), s.cfg.StowTime)
}

// end waits for the goroutines and leaves what is left to the spool.
func (s *Sink) end() error {
	s.tasks.Wait()
	s.lastWord()
	s.mu.Lock()
	s.tellDead()
	s.mu.Unlock()
	s.client.CloseIdleConnections()
	return s.leave()
}

// kafkasTime is ctx without what the disk needs at the end.
func (s *Sink) kafkasTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if s.deps.OpenSpool == nil || !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, left-min(s.cfg.StowTime, left/3))
}

// leave writes what is left to the spool and closes it, and drops what does not fit. Nobody else is there any
// more.
func (s *Sink) leave() error {
	s.mu.Lock()
	behind := s.spooler.behindClose
	s.mu.Unlock()
	if behind {
		return nil // the account is closed
	}
	s.lastMarkToDisk()
	s.stow()
	s.abandon()
	s.endFrames()
	sp := s.spooler.sp
	if sp == nil {
		return nil
	}
	err := sp.Close()
	if err == nil {
		var out []settled
		s.mu.Lock()
		for _, g := range s.spooler.groups {
			out = g.durable(out)
		}
		s.mu.Unlock()
		tell(out)
	}
	s.spooler.groups = nil
	return err
}

// lastMarkToDisk leaves the final mark to the disk, with what Kafka has not taken.
func (s *Sink) lastMarkToDisk() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.spooler.sp == nil:
	case len(s.main.lanes) > 0 && s.main.lobby == nil:
		s.lastMark(s.main.stickyLane())
	default:
		s.lastMark(s.main.inLobby())
	}
}

// abandon drops what is unsettled after the workers have gone.
func (s *Sink) abandon() {
	var out []settled
	s.mu.Lock()
	for l := range s.lanes() {
		l.disk.any = false // it stays there
		for {
			b := l.take()
			if b == nil {
				break
			}
			l.doubt = nil
			if b.rb == nil {
				continue // on disk
			}
			s.drop(sink.DroppedShutdown, b.events)
			n := b.events
			s.unload(l.topic, b)
			out = s.finish(b, n, out)
		}
	}
	s.checkDrained() // for a later Close
	s.mu.Unlock()
	tell(out)
}

func tell(out []settled) {
	for i := range out {
		out[i].tell()
		out[i] = settled{}
	}
}

func (o *settled) tell() {
	if h, ok := o.ack.(sink.Hopeless); ok && o.hopeless > 0 {
		h.Hopeless(o.hopeless, o.dead)
	}
	o.ack.Settle(o.lost)
}

// checkDrained tells Close that nothing is left. s.mu is held.
func (s *Sink) checkDrained() {
	if s.closed && s.main.batches == 0 && s.dead.batches == 0 && s.spooler.overflowing == 0 && !s.holdsFrames() {
		if len(s.main.lanes) > 0 && s.ctx.Err() == nil {
			if l := s.main.stickyLane(); !l.stuck() && s.lastMark(l) {
				return // it has to be delivered first
			}
		}
		select {
		case <-s.drained:
		default:
			close(s.drained)
		}
	}
}

// holdsFrames says whether the spool holds back what is in it, or may hold. s.mu is held.
func (s *Sink) holdsFrames() bool {
	return s.spooler.holding && (s.spooler.sp == nil || s.count.spooled > 0)
}

// Metrics are the sink's own figures, all since the start but for the gauges at the end.
type Metrics struct {
	Requests, Batches   int64            // produce requests and the batches in them, resends included
	WireBytes, RawBytes int64            // of batches, as sent and before compression
	Retries             int64            // batches sent again
	Splits              int64            // batches the broker refused whole and that were taken apart
	Renewals            int64            // stamps that the broker refused: a new epoch or a new producer id
	Collisions          int64            // first sends that were answered as resends: another producer has the same id
	Refreshes           int64            // forced looks at the cluster's leaders
	Thaws               int64            // times the process was found to have stood still, and connections were renewed
	Throttled           time.Duration    // that brokers asked to wait
	RequestErrors       map[int32]int64  // requests without an answer, by broker
	DeadReasons         map[string]int64 // dead letters taken, by reason

	BufferBytes, BufferLimit int64 // batch buffers in use and their bound
	PrivateBytes             int64 // oversize records and split batches, outside of the buffers

	SpilledFrames, ReplayedFrames int64 // batches written to the spool, and read back from it
	Syncs                         int64 // rounds of waiting for the disk
	SpoolState                    SpoolState
	SpoolError                    error
}

// Metrics returns the sink's own figures.
func (s *Sink) Metrics() Metrics {
	s.mu.Lock()
	private := s.main.private + s.dead.private
	state, spoolErr := s.spooler.state, s.spooler.err
	errs, dead, throttled := maps.Clone(s.requestErrors), map[string]int64{}, s.throttled
	for reason, c := range s.deadCounts {
		dead[reason] = c.taken
	}
	s.mu.Unlock()
	return Metrics{
		Requests: s.requests.Load(), Batches: s.batches.Load(), WireBytes: s.wireBytes.Load(), RawBytes: s.rawBytes.Load(),
		Retries: s.retries.Load(), Splits: s.splits.Load(), Renewals: s.renewals.Load(), Collisions: s.collisions.Load(), Refreshes: s.refreshes.Load(), Thaws: s.thaws.Load(),
		Throttled: throttled, RequestErrors: errs, DeadReasons: dead,
		BufferBytes: int64(s.pool.InUse()) * recordbatch.ChunkSize, BufferLimit: int64(s.pool.Total()) * recordbatch.ChunkSize,
		PrivateBytes:  private,
		SpilledFrames: s.spilledFrames.Load(), ReplayedFrames: s.replayedFrames.Load(),
		Syncs: s.syncs.Load(), SpoolState: state, SpoolError: spoolErr,
	}
}
