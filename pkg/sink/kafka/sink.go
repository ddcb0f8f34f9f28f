// Package kafka is the sink that publishes to Apache Kafka, idempotently, over kafka-go's Transport.
//
// An event is copied once, straight into the open record batch of its partition (package recordbatch).
// A lane is one partition's queue of batches; each broker has two workers, and each of their requests
// carries one batch of every ready lane that broker leads. While a request is under way the next
// batches grow. A batch is stamped with producer id and sequence when it is first sent; until it is
// resolved exactly these bytes are sent again, so the broker recognises what it already has.
//
//	Append ─▶ lane.open ─seal─▶ lane.queue ─take─▶ lane.head ─request─▶ broker ─answer─▶ settled
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
	"errors"
	"fmt"
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
		requestErrors: map[int32]int64{}, scratches: newScratches(),
	}
	r := &s.reporter
	r.core, r.cluster, r.spooler, r.letters, r.sender = c, &s.cluster, &s.spooler, &s.letters, &s.sender
	// What has to be heard above goes up by these.
	s.cluster.serve, s.cluster.firstReached = s.sender.startWorkersLocked, r.tellReachedLocked
	s.spooler.kafkaTrouble, s.giveUpStuck = r.kafkaLocked, s.giveUpStuckLocked
	if s.deps.OpenSpool != nil && s.cfg.Settle == SettleOnDisk {
		s.wantsFrame = s.spooler.committer.frameWantedLocked
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

// Metrics are the sink's own figures, all since the start, except the gauges at the end.
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
	private := int64(0)
	for _, t := range s.all {
		private += t.private
	}
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

// Ready implements sink.Sink. What keeps events from Kafka counts where deliveries wait for Kafka; elsewhere there
// must be room in memory or on disk.
func (s *Sink) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	disk := s.disk.sp != nil && (s.disk.err == nil || isFull(s.disk.err))
	switch {
	case s.closed:
		return sink.ErrClosed
	case s.disk.holding && s.disk.sp == nil && s.disk.err == nil:
		return errors.New("the spool is being read")
	case s.cfg.Settle == SettleOnKafka, !disk && s.cfg.Settle == SettleOnDisk, !disk && !s.cluster.view.reached:
		return s.reporter.kafkaLocked()
	case s.reporter.blockedLocked(time.Now()):
		return fmt.Errorf("there is no room in memory%s: %w", map[bool]string{true: " and on disk"}[disk], sink.ErrNoRoom)
	}
	return nil
}

// Stats implements sink.Sink. All terms are of one instant.
func (s *Sink) Stats() sink.Stats {
	s.mu.Lock()
	s.dropDamaged()
	c := s.count
	if s.spooler.behindClose { // a worker may still come back from the disk
		c = s.atEnd
	}
	c.dropped = maps.Clone(c.dropped)
	idempotent := !s.unsafe
	s.mu.Unlock()
	return sink.Stats{
		Admitted: c.admitted, Recovered: c.recovered, Delivered: c.delivered, DeadLettered: c.deadLettered,
		SetAside: c.setAside, Spooled: c.spooled, InFlight: c.inFlight, Dropped: c.dropped,
		PossibleDuplicates: s.possibleDuplicates.Load(), DuplicatesSuppressed: s.duplicatesSuppressed.Load(),
		Idempotent: idempotent,
	}
}

// Inside is what there is to see of the sink now, with at most so many partitions.
func (s *Sink) Inside(partitions int) sink.Inside {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reporter.insideLocked(partitions)
}

// Wake implements sink.Waker.
func (s *Sink) Wake() { s.want.wakeIdle() }
