package kafka

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
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

	scratches chan *recordbatch.Scratch // that no worker holds

	// Guarded by core.mu.
	workers       []*worker
	requestErrors map[int32]int64 // requests without an answer, by broker
}

// worker carries one request at a time to its broker.
type worker struct {
	b       *broker
	s       *sender
	timer   *time.Timer
	entries []entry
	readers []*recordbatch.Reader // of requests that were answered: they are not read any more
	cluster string                // that the stamps of the entries are for
	bytes   int
	loads   int      // entries read from the spool
	buf     []byte   // a frame as it was read
	work    []*batch // of commit
	notes   []diskqueue.Sent
	behind  []diskqueue.Queue // of lanes of which the cursor must be written
	heir    heir              // goes on while the disk hangs
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
	dated   bool // the topic keeps the times of the records
	failed  error
	suspect bool // the last process may have delivered it
	reader  *recordbatch.Reader

	verdict class // of a batch that must be taken apart
	code    int16
	message string
	named   []produce.ResponseError // records that the broker says are why
}

// newScratches is the memory for compression that all workers share: a cluster may have a thousand brokers, and each of
// these takes up to 3 MiB. More than one for each processor would not be used at the same time.
func newScratches() chan *recordbatch.Scratch {
	free := make(chan *recordbatch.Scratch, runtime.GOMAXPROCS(0))
	for range cap(free) {
		free <- &recordbatch.Scratch{}
	}
	return free
}

// startWorkersLocked starts the workers of a broker that is new.
func (s *sender) startWorkersLocked(b *broker) {
	for range requestsPerBroker {
		w := s.newWorker(b)
		s.workers = append(s.workers, w)
		s.tasks.Go(w.run)
	}
}

func (s *sender) newWorker(b *broker) *worker {
	t := time.NewTimer(time.Hour)
	t.Stop()
	w := &worker{b: b, s: s, timer: t, req: &rawproduce.Request{}, ended: make(chan struct{})}
	w.heir.goOn = w.runUnnoted
	return w
}

// run sends until the sink ends, or the cluster has the broker no more.
func (w *worker) run() {
	for w.gather() {
		if !w.readFrames() || !w.deliver() {
			return // the disk has hung: runUnread or runUnnoted is the worker now
		}
	}
	close(w.ended)
}

// deliver sends what was gathered and read; false: the disk has hung, and runUnnoted is the worker now.
func (w *worker) deliver() bool {
	w.prepare()
	if !w.noteSending() {
		return false
	}
	w.send()
	return true
}

// runUnread is run from where the disk hung when it read frames. These are left to that call.
func (w *worker) runUnread() {
	kept := make([]entry, 0, len(w.entries))
	for i := range w.entries {
		if !w.entries[i].load {
			kept = append(kept, w.entries[i])
		}
	}
	w.entries, w.loads = kept, 0
	w.s.mu.Lock()
	w.s.warnLimited("reading", "the disk does not answer, and frames of the spool cannot be read; their partitions wait")
	w.s.mu.Unlock()
	if w.deliver() {
		w.run()
	}
}

// runUnnoted is run from where the disk hung when the worker noted what it sends.
func (w *worker) runUnnoted() {
	w.notes, w.behind = nil, nil // that call has them
	w.unnoted(errDiskHangs)
	w.send()
	w.run()
}

// send sends the request and sees to what the answer means.
func (w *worker) send() {
	if w.s.deps.OpenSpool != nil {
		w.prepared()
	}
	w.s.requests.Add(1)
	w.s.batches.Add(int64(len(w.entries)))
	if len(w.entries) == 0 {
		return // nothing could be read back
	}
	start := time.Now()
	w.sentAt.Store(int64(start.Sub(w.s.cluster.clock.epoch)))
	w.s.changes.watch()
	res, err := w.exchange(start)
	w.sentAt.Store(0)
	now := time.Now()
	if o := w.s.deps.Observer; o != nil {
		o.Request(now.Sub(start))
	}
	w.resolve(res, err, now)
}

// date brings known back to the newest time in the batch: on a topic that keeps the times of the records a broker takes that
// for when the producer wrote last, and forgets one whose batch is old, or has no times, at its next look (Kafka's
// ProducerStateManager.isProducerExpired and ProducerAppendInfo.append). The caller holds core.mu: a spooler may read known.
func (e *entry) date() {
	if !e.dated {
		return
	}
	if at := time.UnixMilli(e.batch.rb.MaxTimestamp()); at.Before(e.batch.known) {
		e.batch.known = at
	}
}

// forgets reports whether brokers may have forgotten b's stamp when a request that is sent now arrives.
func (s *core) forgets(b *batch, now time.Time) bool {
	return now.Sub(b.known)+s.cfg.RequestTimeout >= s.expiry
}

// prepare does the work on bytes: compression once, stamp and checksum at the first send.
func (w *worker) prepare() {
	scratch := <-w.s.scratches
	for i := range w.entries {
		if e := &w.entries[i]; e.failed == nil {
			w.s.compress(e.batch, scratch)
		}
	}
	w.s.scratches <- scratch
	w.refuse()
	if w.s.deps.OpenSpool != nil {
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
}

// exchange sends the request at now and waits for the answer, RequestTimeout at most.
func (w *worker) exchange(now time.Time) (*produce.Response, error) {
	w.fill()
	w.s.cluster.renewAfterThaw(now)
	ctx, cancel := context.WithDeadline(w.s.ctx, now.Add(w.s.cfg.RequestTimeout))
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
	for _, of := range w.s.all {
		var t *rawproduce.RequestTopic
		for i := range w.entries {
			e := &w.entries[i]
			if e.lane.topic != of {
				continue
			}
			if t == nil {
				if len(topics) < cap(topics) {
					topics = topics[:len(topics)+1]
				} else {
					topics = append(topics, rawproduce.RequestTopic{})
				}
				t = &topics[len(topics)-1]
				t.Topic, t.Partitions = of.name, t.Partitions[:0]
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

// commit gives the batches of the request that have no frame one, with workersCommit. What the disk does not take goes
// without.
func (w *worker) commit() {
	s := w.s
	work := w.work[:0]
	s.mu.Lock()
	if s.writer.workersCommitLocked() && !s.writer.reserved {
		for i := range w.entries {
			e := &w.entries[i]
			// Not one that was sent before: the spooler sees to those.
			if b := e.batch; e.failed == nil && b.attempts == 1 && b.unframed() && !e.lane.disk.any {
				b.writing = true
				work = append(work, b)
			}
		}
	}
	s.mu.Unlock()
	if w.work = work; len(work) == 0 {
		return
	}
	g, _ := s.writer.write(work)
	s.mu.Lock()
	here := s.writer.noSync
	if !here {
		s.writer.submitLocked(g) // a disk may hang, which is not to keep the batches from Kafka
	}
	s.mu.Unlock()
	if here && g.last != 0 {
		s.writer.confirm(&g, nil)
	}
}

// oldestRequestLocked is the request that waits for its answer for longest.
func (s *sender) oldestRequestLocked() (u unanswered) {
	for _, w := range s.workers {
		if d := w.sentAt.Load(); d != 0 && !w.b.gone {
			if at := s.cluster.clock.epoch.Add(time.Duration(d)); u.since.IsZero() || at.Before(u.since) {
				u = unanswered{at, w.b.id}
			}
		}
	}
	return u
}

// unanswered is a request that waits for its answer.
type unanswered struct {
	since  time.Time // zero: there is none
	broker int32
}
