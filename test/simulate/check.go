package simulate

import (
	"context"
	"errors"
	"strings"
	"testing/synctest"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/simulate/simkafka"
)

const (
	// calm is how long a disk with room must have been well until nobody may wait for room in memory.
	calm = 10 * time.Second
	// patience is how long everything may take to end when all is well again.
	patience = 240 * time.Second
)

// check compares what is there after a step with the promise.
func (w *world) check() {
	p := w.proc
	if p == nil {
		return
	}
	w.lookAtDisk()
	o, opened := w.oracle, w.opened()
	st, m := p.sink.Stats(), p.sink.Metrics()
	inCall := int64(0)
	var stuck time.Duration
	o.mu.Lock()
	defer o.mu.Unlock()
	if w.prof.spool && (m.SpoolError != nil || !opened) {
		o.goesBare()
	}
	if m.SpoolError != nil {
		o.strict = false // batches go without frames: one that is under way when the process is killed may arrive later
	}
	for _, a := range p.appenders {
		inCall += a.records.Load()
		if a.busy.Load() && !a.dead {
			stuck = max(stuck, time.Since(a.since))
		}
	}
	sum := total(&st)
	if want := p.taken + st.Recovered; sum < want || sum > want+inCall {
		o.violate("the ledger has %d events, %d were taken, %d of them recovered, and %d are being appended: %+v", sum, want, st.Recovered, inCall, st)
	}
	if st.Spooled < 0 || st.InFlight < 0 {
		o.violate("an account is below zero: %+v", st)
	}
	if m.BufferBytes > m.BufferLimit {
		o.violate("%d bytes of buffers, the bound is %d", m.BufferBytes, m.BufferLimit)
	}
	bound := int64(4*oversize + 4*bigEvent)
	if w.prof.has(contents | limits | clocks) { // each half of a part has a chunk of its own; a batch here has up to some 100 records
		bound += int64(w.prof.partitions) * 7 * recordbatch.ChunkSize
	}
	if m.PrivateBytes > bound {
		o.violate("%d bytes outside of the buffers, the bound is %d", m.PrivateBytes, bound)
	}
	if possible := w.possible + st.PossibleDuplicates; o.doubles > possible {
		o.violate("%d events are there twice, %d were counted as possible duplicates", o.doubles, possible)
	} else if possible > 0 && !w.prof.has(^recognised|slowDisk) && !w.filled {
		o.violate("%d events were counted as possible duplicates, %d of them by process %d, though brokers recognise each resend", possible, st.PossibleDuplicates, p.life)
	}
	if w.prof.spool && stuck > calm && w.tranquilFor() > calm && p.closing == nil && !w.headsFillMemory() && w.prof.frames == 0 {
		o.violate("a source waits for room for %v beside an empty disk: spool %v (%v)", stuck, m.SpoolState, m.SpoolError)
	}
}

// headsFillMemory reports whether the batches in doubt may take all buffers: those that were sent before the spool was
// opened stay in memory, because a frame of theirs would lie behind those that the spool has.
func (w *world) headsFillMemory() bool {
	lanes := int64(w.prof.partitions * w.prof.topics)
	return w.prof.has(lateSpool) && lanes*recordbatch.ChunkSize >= w.prof.buffers
}

func total(st *sink.Stats) int64 {
	n := st.Delivered + st.DeadLettered + st.SetAside + st.Spooled + st.InFlight
	for _, d := range st.Dropped {
		n += d
	}
	return n
}

// lookAtDisk notes whether the disk is well and has room.
func (w *world) lookAtDisk() {
	if !w.prof.spool {
		return
	}
	used := w.disk.Used()
	free, _ := w.disk.Free("d")
	w.mu.Lock()
	defer w.mu.Unlock()
	waits := false
	for _, k := range w.parked {
		waits = waits || k.call == nil
	}
	w.filled = w.filled || used > spoolMax*3/4 // what has no room is carried in memory, and a kill would repeat it
	if waits || w.eio > 0 || !w.spoolOpen || used > spoolMax/2 || free < w.prof.keepFree+128<<10 {
		w.troubled = time.Now()
	}
}

// tranquilFor is how long the disk has been well and had room.
func (w *world) tranquilFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.troubled)
}

// tranquil reports whether the disk is well now, and has been for a moment.
func (w *world) tranquil() bool {
	w.mu.Lock()
	fails := w.eio > 0
	w.mu.Unlock()
	return w.prof.spool && !fails && w.tranquilFor() > 2*time.Second
}

// close begins to stop a process.
func (w *world) close(p *process, limit time.Duration) {
	closing := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	p.closing, p.hurry = closing, cancel
	go func() {
		defer cancel()
		closing <- p.sink.Close(ctx)
	}()
}

// ended judges a process that was stopped. clean: the disk had room and did not fail.
func (w *world) ended(p *process, err error, clean bool) {
	synctest.Wait()
	p.stats = p.sink.Stats()
	m := p.sink.Metrics()
	w.note("process %d has ended: %v; %+v", p.life, err, p.stats)
	// Or did: the end does not wait for a disk, though it may answer a moment later.
	hangs := p.atDisk() || err != nil && strings.Contains(err.Error(), "the disk does not answer")
	if hangs {
		w.disk, w.killed = w.disk.Kill(), true // what was not written when the program gave up is not written
	}
	p.release()
	p.end()
	synctest.Wait() // its sources have counted what was taken
	o := w.oracle
	o.mu.Lock()
	if sum := total(&p.stats); sum != p.taken+p.stats.Recovered {
		o.violate("at the end the ledger has %d events, %d were taken and %d recovered: %+v", sum, p.taken, p.stats.Recovered, p.stats)
	}
	if p.stats.InFlight != 0 || !hangs && (m.BufferBytes != 0 || m.PrivateBytes != 0) {
		o.violate("at the end %d events are in flight, %d bytes of buffers and %d outside of them are not given back", p.stats.InFlight, m.BufferBytes, m.PrivateBytes)
	}
	if n := p.stats.Dropped[sink.DroppedShutdown]; n > 0 && clean && !hangs {
		o.violate("stopped beside a disk with room, %d events were dropped", n)
	}
	o.mu.Unlock()
	w.book(p)
	w.proc = nil
	w.mu.Lock()
	w.spoolOpen = false
	w.mu.Unlock()
}

// book adds what a process that has ended has counted.
func (w *world) book(p *process) {
	w.possible += p.stats.PossibleDuplicates
	for reason, n := range p.stats.Dropped {
		w.dropped[reason] += n
	}
	w.delivered += p.stats.Delivered
}

// mend ends all troubles.
func (w *world) mend() {
	w.mu.Lock()
	w.healing, w.eio = true, 0
	w.mu.Unlock()
	w.disk.SetBudget(1 << 30)
	w.disturbed()
	w.cluster.Heal()
	w.cluster.ForbidTopics = false
	for _, topic := range mainTopics[:w.prof.topics] {
		w.makeTopic(topic)
		w.cluster.Configure(topic, func(c *simkafka.TopicConfig) { *c = w.topicConfig() })
	}
	w.cluster.Configure(deadTopic, func(c *simkafka.TopicConfig) { *c = simkafka.TopicConfig{} })
	w.proc.busyUntil = time.Time{}
}

// heal ends all troubles, waits until everything is where it belongs, and judges.
func (w *world) heal() {
	w.note("all is well again")
	w.mend()
	if w.prof.has(squeezed) {
		w.disk.SetBudget(w.disk.Used() + w.prof.keepFree/2)
		w.note("but others leave less than --spool-keep-free")
	}
	p := w.proc
	begun, again := time.Now(), false
	for pause := 5 * time.Millisecond; ; pause = min(pause*5/4, 2*time.Second) {
		if w.settle(); w.violated() {
			return
		}
		if st := p.sink.Stats(); st.InFlight == 0 && st.Spooled == 0 && !p.busy() && w.opened() {
			break
		} else if !again && w.prof.has(brokenDisk) && time.Since(begun) > patience/4 && st.InFlight == 0 && !p.busy() {
			// Frames that could not be placed in another partition while the disk failed wait for the next start.
			again = true
			if p = w.restartCalmly(); p == nil {
				return
			}
		} else if time.Since(begun) > patience {
			w.oracle.mu.Lock()
			w.oracle.violate("stuck: %v after all is well again: ready %v, spool %v (%v), sources wait %v, %+v", patience, p.sink.Ready(), p.sink.Metrics().SpoolState, p.sink.Metrics().SpoolError, p.busy(), st)
			w.oracle.mu.Unlock()
			return
		}
		time.Sleep(pause)
	}
	if w.stop(p); w.violated() {
		return
	}
	for len(w.late) > 0 {
		w.arrive()
	}
	w.judge()
}

// stop ends a process while all is well.
func (w *world) stop(p *process) {
	w.close(p, time.Minute)
	for {
		if w.settle(); w.violated() {
			return
		}
		select {
		case err := <-p.closing:
			if w.ended(p, err, w.tranquil()); err != nil && !(w.prof.has(brokenDisk|squeezed) && !errors.Is(err, context.DeadlineExceeded)) {
				w.fail("the sink does not end: %v", err)
			}
			return
		default:
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// restartCalmly ends the process and starts another one while all is well; nil: it found a violation.
func (w *world) restartCalmly() *process {
	if w.stop(w.proc); w.violated() {
		return nil
	}
	w.proc = w.newProcess()
	return w.proc
}

// opened reports whether the spool is open, or there is none.
func (w *world) opened() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spoolOpen || !w.prof.spool
}

func (w *world) fail(format string, args ...any) {
	w.oracle.mu.Lock()
	defer w.oracle.mu.Unlock()
	w.oracle.violate(format, args...)
}

func (p *process) busy() bool {
	for _, a := range p.appenders {
		if a.busy.Load() {
			return true
		}
	}
	return false
}

// settle lets everything that waits go on, until nothing does.
func (w *world) settle() {
	for range 1000 {
		synctest.Wait()
		w.dog.steps.Add(1)
		if w.check(); w.violated() {
			return
		}
		w.mu.Lock()
		n := len(w.parked)
		w.mu.Unlock()
		if n == 0 {
			return
		}
		k := w.take(0)
		if k.call == nil {
			w.oracle.back(k)
			k.done <- verdict{}
			continue
		}
		if !w.reachable(k.call) {
			k.done <- verdict{err: simkafka.ErrDown}
			continue
		}
		msg, err := k.call.Serve(nil)
		w.note("release %s: %v", k, answer{msg, err})
		w.oracle.hears(k.call.Request)
		w.oracle.answered(k.call, msg)
		k.done <- verdict{msg, err}
	}
}

// judge compares the logs with what was appended and acknowledged.
func (w *world) judge() {
	o := w.oracle
	o.mu.Lock()
	defer o.mu.Unlock()
	excused := int64(0) // dropped and counted
	for _, n := range w.dropped {
		excused += n
	}
	if o.settle != kafka.SettleOnDisk {
		excused = 0 // what was dropped was not acknowledged
	}
	missing, copies := int64(0), int64(0)
	var first *event
	for _, e := range o.events {
		copies += int64(e.main)
		switch {
		case e.main > 0:
		case e.acked && !e.arrived():
			if missing++; first == nil {
				first = e
			}
		case e.taken && !e.lost && !e.arrived() && !w.killed && w.lives == 1 && len(w.dropped) == 0:
			o.violate("neither in the log nor counted: %v", e)
		}
	}
	if missing > excused {
		o.violate("acknowledged and nowhere: %d events, %d were counted as dropped; the first: %v", missing, excused, first)
	}
	// A process that carries a frame leaves all of it to the next one (docs/guarantees.md): what comes twice is delivered twice,
	// be it to a topic that was made anew in between. So does one whose disk fails to note at the end what was delivered.
	if !w.killed && !w.prof.has(brokenDisk) && w.delivered > copies {
		o.violate("the ledger has %d events delivered, the topics took %d", w.delivered, copies)
	}
	if o.doubles > w.possible {
		o.violate("%d events are there twice, %d were counted as possible duplicates", o.doubles, w.possible)
	}
}
