package kafka

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// sender owns the delivery: workers that send, what an answer means for a batch, how a refused one is taken apart, and
// frames that are read back. It knows the partitions, the cluster, the spool and the dead letters.
type sender struct {
	*core
	cluster *kafkaCluster
	room    *room
	spooler *spooler
	writer  *frameWriter // the spooler's
	letters *deadLetters

	replay replay

	// Guarded by core.mu.
	workers       []*worker
	requestErrors map[int32]int64 // requests without an answer, by broker
}

// worker carries one request at a time to its broker.
type worker struct {
	b       *broker
	s       *sender
	timer   *time.Timer
	scratch recordbatch.Scratch
	entries []entry
	readers []*recordbatch.Reader // of requests that were answered: they are not read any more
	cluster string                // that the stamps of the entries are for
	bytes   int
	loads   int      // entries read from the spool
	buf     []byte   // a frame as it was read
	work    []*batch // of commit
	notes   []SpoolSent
	req     *rawproduce.Request
	out     []settled
	ended   chan struct{} // closed when run returns
	sentAt  atomic.Int64  // when the request that waits for its answer was sent, since cluster.clock.epoch; 0: none waits
}

// entry is one lane's batch in the request.
type entry struct {
	lane    *lane
	batch   *batch
	stamp   bool // it needs its stamp; else it carries it already
	load    bool // its memory must be read from its frame
	behind  bool // the spool may not have written down yet that the lane's last frame is done
	failed  error
	suspect bool // the last process may have delivered it
	reader  *recordbatch.Reader

	verdict class // of a batch that must be taken apart
	code    int16
	message string
	named   []produce.ResponseError // records that the broker says are why
}

// startWorkers starts the workers of a broker that is new. s.mu is held.
func (s *sender) startWorkers(b *broker) {
	for range requestsPerBroker {
		w := s.newWorker(b)
		s.workers = append(s.workers, w)
		s.tasks.Go(w.run)
	}
}

func (s *sender) newWorker(b *broker) *worker {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &worker{b: b, s: s, timer: t, req: &rawproduce.Request{}, ended: make(chan struct{})}
}

// run sends until the sink ends, or the cluster has the broker no more.
func (w *worker) run() {
	defer close(w.ended)
	for w.gather() {
		w.prepare()
		if len(w.entries) == 0 {
			continue // nothing could be read back
		}
		start := time.Now()
		w.sentAt.Store(int64(start.Sub(w.s.cluster.clock.epoch)))
		w.s.changes.watch()
		res, err := w.exchange()
		w.sentAt.Store(0)
		if o := w.s.deps.Observer; o != nil {
			o.Request(time.Since(start))
		}
		w.resolve(res, err)
	}
}

// gather waits until there is something to send and takes it. The workers of a broker take turns: one
// gathers while the others are under way.
func (w *worker) gather() bool {
	b, s := w.b, w.s
	b.turn.Lock()
	defer b.turn.Unlock()
	for s.ctx.Err() == nil {
		now := time.Now()
		s.mu.Lock()
		if b.gone {
			s.workers = slices.DeleteFunc(s.workers, func(o *worker) bool { return o == w })
			s.mu.Unlock()
			return false
		}
		at := w.collect(now)
		if len(w.entries) > 0 {
			w.cluster = s.clusterID
			s.mu.Unlock()
			return true
		}
		b.parked, b.wakeAt = true, at
		s.mu.Unlock()
		var expired <-chan time.Time
		if !at.IsZero() {
			w.timer.Reset(at.Sub(now))
			expired = w.timer.C
		}
		select {
		case <-b.wake:
		case <-expired:
		case <-s.ctx.Done():
		}
		w.timer.Stop()
		s.mu.Lock()
		b.parked = false
		s.mu.Unlock()
	}
	return false
}

// add takes the lane's next batch into the request; false: the request is full. s.mu is held.
func (w *worker) add(l *lane) bool {
	s := w.s
	var size int
	switch b := l.next(); {
	case b == nil:
		size = l.frameBytes()
	case b.rb == nil:
		size = l.frameBytes() // the one in doubt is the oldest
	default:
		size = b.rb.Size()
	}
	if len(w.entries) > 0 && w.bytes+size > w.b.bound.now {
		return false
	}
	if next := l.next(); w.loads > 0 && (next == nil || next.rb == nil) && !s.replay.fits(size) {
		return false
	}
	b := l.take()
	w.bytes += size
	l.busy = true
	e := entry{lane: l, batch: b}
	if b.rb == nil {
		e.load = true
		w.loads++
		s.keepMemory(b)
	}
	if l.needsStamp(b) {
		b.stamp, b.stamped, b.sends, b.final = noProducer, true, 0, false
		if !s.unsafe {
			b.stamp = l.stamps.give(s.current)
		}
		e.stamp, e.behind, l.disk.behind = true, l.disk.behind, false
	}
	now := time.Now()
	if b.sent.IsZero() {
		b.sent = now
	} else {
		s.retries.Add(1)
	}
	// The broker does not recognise a batch that it may have when it comes under another stamp, or under none, or when
	// it has forgotten the producer by the time at which this request arrives: then it takes what an unknown one sends.
	forgotten := s.forgets(b, now)
	switch {
	case !b.maybeWritten:
	case b.sends == 0 || b.stamp.id < 0 || forgotten:
		s.suspect(b)
	case !s.told:
		b.unsure++
	}
	if b.sends == 0 || forgotten {
		b.known = now
	}
	b.attempts++
	b.sends++
	w.entries = append(w.entries, e)
	return true
}

// forgets reports whether brokers may have forgotten b's stamp when a request that is sent now arrives. s.mu is held.
func (s *core) forgets(b *batch, now time.Time) bool {
	return now.Sub(b.known)+s.cfg.RequestTimeout >= s.expiry
}

// countUnsure counts the copies of b that brokers may have taken for new ones, because no broker has told when it forgets
// a producer. s.mu is held.
func (s *core) countUnsure(b *batch) {
	s.possibleDuplicates.Add(int64(b.unsure * b.events))
	b.unsure = 0
}

// suspect counts one more copy of a batch that may come to be in the log. s.mu is held.
func (s *core) suspect(b *batch) {
	b.maybeWritten = false // that copy is counted; the next one is another
	s.possibleDuplicates.Add(int64(b.events))
}

// prepare does the work on bytes: compression once, stamp and checksum at the first send. Frames are read
// from the spool; what cannot be read leaves the request.
func (w *worker) prepare() {
	for i := range w.entries {
		e := &w.entries[i]
		if e.load {
			if e.failed = w.load(e); e.failed != nil {
				continue
			}
		}
		w.s.compress(e.batch, &w.scratch)
	}
	w.refuse()
	withSpool := w.s.deps.OpenSpool != nil
	if withSpool {
		w.commit()
	}
	for i := range w.entries {
		e := &w.entries[i]
		if e.failed != nil {
			continue
		}
		if e.stamp || e.load {
			e.batch.rb.Stamp(e.batch.stamp.id, e.batch.stamp.epoch, e.batch.stamp.seq)
		}
		w.s.wireBytes.Add(int64(e.batch.rb.Size()))
	}
	if withSpool {
		w.noteSending()
		w.prepared()
	}
	w.s.requests.Add(1)
	w.s.batches.Add(int64(len(w.entries)))
}

// compress compresses a batch once.
func (s *core) compress(b *batch, scratch *recordbatch.Scratch) {
	if b.ready {
		return
	}
	b.ready = true
	s.rawBytes.Add(int64(b.rb.Size()))
	// An encoder that fails leaves the batch as it was: it goes uncompressed.
	had := b.rb.Chunks()
	_ = b.rb.Compress(recordbatch.Codec(s.codec.Load()), scratch)
	if b.rb.Chunks() < had {
		s.mu.Lock()
		s.madeRoom()
		s.mu.Unlock()
	}
}

// exchange sends the request and waits for the answer, RequestTimeout at most.
func (w *worker) exchange() (*produce.Response, error) {
	w.fill()
	w.s.cluster.renewAfterThaw()
	ctx, cancel := context.WithTimeout(w.s.ctx, w.s.cfg.RequestTimeout)
	res, err := w.s.cluster.client.produce(ctx, Peer{w.b.id, w.cluster}, w.req)
	cancel()
	if err != nil {
		// kafka-go may still be reading: from here on it must not, the buffers have other uses. What it
		// holds of the request is left to it.
		for i := range w.entries {
			w.entries[i].reader.Abandon()
		}
		w.req = &rawproduce.Request{}
		return nil, err
	}
	for i := range w.entries {
		w.readers = append(w.readers, w.entries[i].reader)
	}
	return res, nil
}

func (w *worker) newReader() *recordbatch.Reader {
	if n := len(w.readers); n > 0 {
		r := w.readers[n-1]
		w.readers = w.readers[:n-1]
		return r
	}
	return &recordbatch.Reader{}
}

// fill writes the request for the entries, reusing what an answered request left.
func (w *worker) fill() {
	req := w.req
	req.Acks = -1
	// How long the broker may wait for replicas. It must give up before we do: else one partition whose
	// replicas are slow would cost all others in the request their answer, again and again.
	req.Timeout = int32((w.s.cfg.RequestTimeout / 2).Milliseconds())
	topics := req.Topics[:0]
	for _, dead := range []bool{false, true} {
		var t *rawproduce.RequestTopic
		for i := range w.entries {
			e := &w.entries[i]
			if e.lane.topic.dead != dead {
				continue
			}
			if t == nil {
				if len(topics) < cap(topics) {
					topics = topics[:len(topics)+1]
				} else {
					topics = append(topics, rawproduce.RequestTopic{})
				}
				t = &topics[len(topics)-1]
				t.Topic, t.Partitions = e.lane.topic.name, t.Partitions[:0]
			}
			e.reader = w.newReader()
			e.reader.Reset(e.batch.rb)
			t.Partitions = append(t.Partitions, rawproduce.RequestPartition{
				Partition: e.lane.partition, RecordSet: protocol.RawRecordSet{Reader: e.reader},
			})
		}
	}
	req.Topics = topics
}
