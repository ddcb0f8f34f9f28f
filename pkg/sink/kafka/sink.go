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
// Goroutines: two workers per broker and one steward (leaders, producer id, topics); Close ends and
// waits for all of them. One mutex guards lanes and queues; it is held for one call of Append (at most
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

	mu       sync.Mutex
	closed   bool
	main     topic
	dead     topic
	brokers  map[int32]*broker
	current  producer
	want     wants
	room     chan struct{} // closed and replaced when an appender may try again
	waiting  int           // appenders that wait on room
	drained  chan struct{} // closed when closed and nothing is unsettled
	free     []*batch
	dropped  map[string]int64
	alarms   map[string]time.Time
	expiry   time.Duration // how long brokers remember a producer
	state    error         // what the steward found last; nil: fine
	unsafe   bool          // no producer ids (PreferIdempotence and refused)
	instance int           // hash of Config.Instance for KeylessInstance

	delivered, deadLettered, setAside, inFlight     atomic.Int64
	possibleDuplicates, duplicatesSuppressed        atomic.Int64
	requests, batches, wireBytes, rawBytes, retries atomic.Int64
	splits, renewals, refreshes, requestNanos       atomic.Int64
	thaws                                           atomic.Int64
}

var _ sink.Sink = (*Sink)(nil)

// New starts a sink. It does not wait for the cluster: Ready tells when it can deliver.
func New(cfg Config, deps Deps) (*Sink, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
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
		dropped: map[string]int64{}, alarms: map[string]time.Time{},
		clock:  thawClock{epoch: time.Now()},
		expiry: 24 * time.Hour, state: errors.New("connecting"),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.main = topic{sink: s, name: cfg.Topic, limit: cfg.BatchBytes}
	s.dead = topic{sink: s, name: cfg.DeadLetterTopic, limit: cfg.BatchBytes, dead: true}
	// Every topic has a partition 0, so dead letters have a lane before their topic is known or made.
	s.dead.addLanes(1)
	if cfg.Keyless == KeylessInstance {
		s.instance = int(recordbatch.Murmur2([]byte(cfg.Instance)) & 0x7fffffff)
	}
	s.want.producer = true
	s.tasks.Go(s.steward)
	return s, nil
}

func (t *topic) addLanes(n int) {
	for len(t.lanes) < n {
		t.lanes = append(t.lanes, &lane{topic: t, partition: int32(len(t.lanes))})
	}
}

// Flush implements sink.Sink.
func (s *Sink) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range []*topic{&s.main, &s.dead} {
		for _, l := range t.lanes {
			if l.open != nil {
				l.open.opened = time.Time{} // it may still grow until a request is free
				l.signal()
			}
		}
	}
}

// Close implements sink.Sink.
func (s *Sink) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.madeRoom()
		for _, b := range s.brokers {
			b.signal()
		}
		s.checkDrained()
	}
	s.mu.Unlock()
	var err error
	select {
	case <-s.drained:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel()
	s.tasks.Wait()
	s.client.refresh() // drops idle connections and kafka-go's own goroutine
	s.abandon()
	return err
}

// abandon drops what is unsettled after the workers have gone.
func (s *Sink) abandon() {
	var out []settled
	s.mu.Lock()
	for _, t := range []*topic{&s.main, &s.dead} {
		for _, l := range t.lanes {
			for {
				b := l.take()
				if b == nil {
					break
				}
				l.doubt = nil
				s.drop(sink.DroppedShutdown, b.events)
				n := b.events
				s.unload(t, b)
				out = s.finish(b, n, out)
			}
		}
	}
	s.checkDrained() // for whoever closes again
	s.mu.Unlock()
	tell(out)
}

func tell(out []settled) {
	for i := range out {
		out[i].ack.Settle(out[i].lost)
		out[i] = settled{}
	}
}

// drop counts n events that are in flight as lost.
func (s *Sink) drop(reason string, n int) {
	if n > 0 {
		s.dropped[reason] += int64(n)
		s.inFlight.Add(-int64(n))
	}
}

// checkDrained tells Close that nothing is left. s.mu is held.
func (s *Sink) checkDrained() {
	if s.closed && s.main.batches == 0 && s.dead.batches == 0 {
		select {
		case <-s.drained:
		default:
			close(s.drained)
		}
	}
}

// Ready implements sink.Sink: every partition of the topic has a leader and a producer id is held.
func (s *Sink) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return sink.ErrClosed
	case s.main.err != nil:
		return s.main.err
	case s.state != nil:
		return s.state
	}
	for _, l := range s.main.lanes {
		if l.broker == nil {
			return &leaderlessError{s.main.name, l.partition}
		}
	}
	return nil
}

// Stats implements sink.Sink.
func (s *Sink) Stats() sink.Stats {
	s.mu.Lock()
	dropped := maps.Clone(s.dropped)
	idempotent := !s.unsafe
	s.mu.Unlock()
	return sink.Stats{
		Delivered: s.delivered.Load(), DeadLettered: s.deadLettered.Load(), SetAside: s.setAside.Load(),
		InFlight: s.inFlight.Load(), Dropped: dropped,
		PossibleDuplicates: s.possibleDuplicates.Load(), DuplicatesSuppressed: s.duplicatesSuppressed.Load(),
		Idempotent: idempotent,
	}
}

// Metrics are the sink's own figures, all since the start but for the gauges at the end.
type Metrics struct {
	Requests, Batches   int64 // produce requests and the batches in them, resends included
	WireBytes, RawBytes int64 // of batches, as sent and before compression
	Retries             int64 // batches sent again
	Splits              int64 // batches the broker refused whole and that were taken apart
	Renewals            int64 // producer ids given up
	Refreshes           int64 // forced looks at the cluster's leaders
	Thaws               int64 // times the process was found to have stood still, and connections were renewed
	RequestTime         time.Duration

	BufferBytes, BufferLimit int64 // batch buffers in use and their bound
	PrivateBytes             int64 // oversize records and split batches, outside of the buffers
}

// Metrics returns the sink's own figures.
func (s *Sink) Metrics() Metrics {
	s.mu.Lock()
	private := s.main.private + s.dead.private
	s.mu.Unlock()
	return Metrics{
		Requests: s.requests.Load(), Batches: s.batches.Load(), WireBytes: s.wireBytes.Load(), RawBytes: s.rawBytes.Load(),
		Retries: s.retries.Load(), Splits: s.splits.Load(), Renewals: s.renewals.Load(), Refreshes: s.refreshes.Load(), Thaws: s.thaws.Load(),
		RequestTime: time.Duration(s.requestNanos.Load()),
		BufferBytes: int64(s.pool.InUse()) * recordbatch.ChunkSize, BufferLimit: int64(s.pool.Total()) * recordbatch.ChunkSize,
		PrivateBytes: private,
	}
}
