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
// The work is divided among owners, each of which knows only what stands below it; docs/design.md draws them. From the
// top: Sink, sender, then spooler, kafkaCluster and deadLetters, then room and core; reporter asks them all.
//
// Goroutines: two workers per broker, a steward (leaders, producer id, topics), a reporter, and with a spool one that
// writes to it and one that waits for the disk; Close ends and waits for all of them. One mutex, core.mu, guards lanes and
// queues; it is held for one call of Append (a few dozen records) or one collection of a request, never over I/O,
// compression or checksums.
package kafka

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Sink publishes records to one topic and dead letters to another. It implements sink.Sink. It is the face of the owners
// below: records, bodies' dead letters and questions come in here, and it starts and ends the others.
type Sink struct {
	core
	room     room
	cluster  kafkaCluster
	spooler  spooler
	letters  deadLetters
	sender   sender
	reporter reporter

	untaken []settled // of events that Append has dropped, guarded by mu

	closing slot // held by Close; guards ended
	ended   bool
}

// join gives each owner the ones that stand below it.
func (s *Sink) join() {
	c := &s.core
	s.room.core = c
	s.cluster.core = c
	s.spooler.join(c, &s.room)
	s.letters.core, s.letters.room, s.letters.counts = c, &s.room, map[string]deadCount{}
	s.sender = sender{
		core: c, room: &s.room, cluster: &s.cluster, spooler: &s.spooler, writer: &s.spooler.writer, letters: &s.letters,
		requestErrors: map[int32]int64{},
	}
	r := &s.reporter
	r.core, r.cluster, r.spooler, r.letters, r.sender = c, &s.cluster, &s.spooler, &s.letters, &s.sender
	// What has to be heard above goes up by these.
	s.cluster.serve, s.cluster.firstReached = s.sender.startWorkers, r.tellReached
	s.spooler.kafkaTrouble = r.kafkaLocked
	if s.deps.OpenSpool != nil && s.cfg.Settle == SettleOnDisk {
		s.wantsFrame = s.spooler.committer.frameWanted
	}
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
	s := &Sink{closing: newSlot()}
	s.core.begin(cfg, deps)
	s.join()
	s.cluster.begin(cl)
	if deps.OpenSpool != nil {
		s.spooler.begin()
		s.sender.replay.pool = recordbatch.NewPool(cfg.ReplayBytes)
	}
	s.tasks.Go(s.cluster.steward)
	s.tasks.Go(s.reporter.report)
	if deps.OpenSpool != nil {
		s.tasks.Go(s.spooler.runSpooler)
	}
	return s, nil
}

func (t *topic) addLanes(n int) {
	for len(t.lanes) < n {
		l := &lane{topic: t, partition: int32(len(t.lanes))}
		t.lanes = append(t.lanes, l)
		l.attach(t.core.disk.sp)
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
		s.letters.reportLosses(true)
		s.closed = true
		if s.disk.kick != nil {
			wake(s.disk.kick)
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
		s.spooler.leaveBehind()
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

// hopeless reports whether waiting for Kafka is in vain: it was never reached, a look at it has failed, and everything
// fits on the disk. A broker that does answer, and refuses, has warnAfter to change its mind: clusters that start say many things.
func (s *Sink) hopeless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster.view.reached || s.cluster.view.found.kind == noTrouble || s.disk.sp == nil || s.disk.err != nil {
		return false
	}
	return s.cluster.view.found.kind == unreachable || s.cluster.view.found.kind == unresolved || time.Since(s.cluster.view.foundAt) >= warnAfter
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
	s.reporter.lastWord()
	s.mu.Lock()
	s.letters.tellDead()
	s.mu.Unlock()
	s.cluster.client.CloseIdleConnections()
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
	s.spooler.stow()
	s.abandon()
	s.spooler.writer.endFrames()
	sp := s.disk.sp
	if sp == nil {
		return nil
	}
	err := sp.Close()
	if err == nil {
		var out []settled
		s.mu.Lock()
		for _, g := range s.spooler.writer.groups {
			out = g.durable(out)
		}
		s.mu.Unlock()
		tell(out)
	}
	s.spooler.writer.groups = nil
	return err
}

// lastMarkToDisk leaves the final mark to the disk, with what Kafka has not taken.
func (s *Sink) lastMarkToDisk() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.disk.sp == nil:
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
func (s *core) checkDrained() {
	if s.closed && s.main.batches == 0 && s.dead.batches == 0 && s.disk.overflowing == 0 && !s.holdsFrames() {
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
func (s *core) holdsFrames() bool {
	return s.disk.holding && (s.disk.sp == nil || s.count.spooled > 0)
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
	state, spoolErr := s.spooler.state, s.disk.err
	errs, dead, throttled := maps.Clone(s.sender.requestErrors), map[string]int64{}, s.throttled
	for reason, c := range s.letters.counts {
		dead[reason] = c.taken
	}
	s.mu.Unlock()
	return Metrics{
		Requests: s.requests.Load(), Batches: s.batches.Load(), WireBytes: s.wireBytes.Load(), RawBytes: s.rawBytes.Load(),
		Retries: s.retries.Load(), Splits: s.splits.Load(), Renewals: s.renewals.Load(), Collisions: s.collisions.Load(), Refreshes: s.cluster.refreshes.Load(), Thaws: s.cluster.thaws.Load(),
		Throttled: throttled, RequestErrors: errs, DeadReasons: dead,
		BufferBytes: int64(s.pool.InUse()) * recordbatch.ChunkSize, BufferLimit: int64(s.pool.Total()) * recordbatch.ChunkSize,
		PrivateBytes:  private,
		SpilledFrames: s.spilledFrames.Load(), ReplayedFrames: s.replayedFrames.Load(),
		Syncs: s.spooler.writer.syncs.Load(), SpoolState: state, SpoolError: spoolErr,
	}
}
