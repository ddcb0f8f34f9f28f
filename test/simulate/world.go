// Package simulate runs the real Kafka sink and the real spool in a world of its own: a modelled cluster, a disk in memory
// and testing/synctest's clock. One seed decides everything that happens: which parked call goes on, what becomes of it,
// how time passes, what breaks and when a process is killed. After each step the promise is checked.
//
// Natively the order in which goroutines run between two steps is the scheduler's, so a seed need not replay. Built for
// GOOS=wasip1 and run by wazero, with a seeded random source and its own clock, it does: see ./wazero and `make simulate`.
package simulate

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/test/simulate/simkafka"

	"github.com/segmentio/kafka-go/protocol"
)

// world is all that one seed's schedule touches.
type world struct {
	t      *testing.T
	rng    *rand.Rand // of the scheduler's goroutine
	prof   profile
	trace  io.Writer // nil: none is wanted
	dog    *watchdog
	oracle *oracle

	mu        sync.Mutex // never held while anything waits
	drng      *rand.Rand // for goroutines of the sink; guarded by mu
	cluster   *simkafka.Cluster
	parked    []*parked
	bell      chan struct{} // something is parked
	late      []lateCall    // requests whose client has given them up, and which may still arrive
	calls     int
	healing   bool
	eio       int // so many operations of the disk fail
	spoolOpen bool

	proc      *process
	disk      *spooltest.FS
	lives     int
	boots     int
	full      int64 // what the spool had when others filled the disk for good
	clusters  int
	killed    bool // at least one process
	possible  int64
	delivered int64
	dropped   map[string]int64
	keys      map[string]int // next number by topic and key
	filled    bool           // the spool was, or nearly
	troubled  time.Time      // when the disk was last slow, full, broken or not open
	sum       uint64
	started   time.Time
}

// parked is a call that waits for the scheduler.
type parked struct {
	p    *process
	call *simkafka.Call // nil: of the disk
	op   spooltest.Op
	name string // of the disk's file
	at   time.Time
	done chan verdict
}

// String implements fmt.Stringer: it is asked only when the trace is wanted.
func (k *parked) String() string {
	if k.call == nil {
		return fmt.Sprint("disk ", k.op, " ", k.name)
	}
	return described{k.call}.String()
}

type lateCall struct {
	*simkafka.Call
	since time.Time
}

type verdict struct {
	msg protocol.Message
	err error
}

// outcome is a schedule's end.
type outcome struct {
	bad    string
	hash   uint64
	events int
	prof   profile
}

// simulate runs one schedule and writes its trace, if that is not nil.
func simulate(t *testing.T, dog *watchdog, seed uint64, sc *scenario, trace io.Writer) outcome {
	var out outcome
	dog.seed.Store(seed)
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0x5eed))
		w := &world{t: t, rng: rng, prof: newProfile(rng, sc), trace: trace, dog: dog, drng: rand.New(rand.NewPCG(seed, 0xd15c)), bell: make(chan struct{}, 1),
			disk: spooltest.New(1 << 30), keys: map[string]int{}, dropped: map[string]int64{}, started: time.Now()}
		// With frames before sends, and a disk that keeps them, what the last process had comes before what is new, also
		// where partitions were added.
		strict := w.prof.settle == kafka.SettleOnDisk && w.prof.spool && !w.prof.has(brokenDisk|fullDisk|squeezed|lateSpool|drops|powerLoss|restarts)
		w.oracle = newOracle(w.prof.settle, strict)
		w.oracle.late, w.oracle.frail = w.prof.has(lateSpool), w.prof.has(brokenDisk)
		w.oracle.drops, w.oracle.damaged = w.prof.has(drops), w.prof.has(damage)
		if !w.prof.spool {
			w.oracle.settle = kafka.SettleOnKafka
		}
		w.newCluster()
		w.note("families:%v; %+v", w.prof.families, w.prof)
		w.run()
		out = outcome{bad: w.oracle.bad, hash: w.sum, events: len(w.oracle.events), prof: w.prof}
	})
	return out
}

func (w *world) run() {
	w.proc = w.newProcess()
	if w.prof.has(lateSpool) {
		w.proc.busyUntil = time.Now().Add(time.Duration(8+w.rng.IntN(10)) * time.Second)
		w.disturbed()
	}
	if w.prof.has(lateCluster) {
		w.outage(true)
	}
	for range w.prof.steps {
		w.step()
		if w.violated() {
			break
		}
	}
	if w.prof.lasting && !w.violated() {
		w.last()
	}
	if !w.violated() {
		w.heal()
	}
	if w.proc != nil {
		w.kill(false)
	}
	synctest.Wait()
}

func (w *world) step() {
	synctest.Wait()
	w.dog.steps.Add(1)
	if w.check(); w.violated() {
		return
	}
	w.act()
}

func (w *world) violated() bool {
	w.oracle.mu.Lock()
	defer w.oracle.mu.Unlock()
	return w.oracle.bad != ""
}

// note writes a line into the trace, if it is wanted, and adds what and when to the schedule's hash.
func (w *world) note(format string, args ...any) {
	at := time.Since(w.started)
	h := fnv.New64a()
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], w.sum)
	binary.LittleEndian.PutUint64(b[8:], uint64(at))
	binary.LittleEndian.PutUint64(b[16:], uint64(w.calls))
	h.Write(b[:])
	io.WriteString(h, format)
	w.sum = h.Sum64()
	w.print(format, args...)
}

// print writes a line into the trace at once: a panic would take the rest with it.
func (w *world) print(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%9.3fs %s\n", time.Since(w.started).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (w *world) newCluster() {
	c := simkafka.NewCluster(fmt.Sprint("cluster-", w.clusters), w.prof.brokers, w.prof.partitions)
	w.clusters++
	c.Expiry = w.prof.expiry
	c.ForbidTopics = w.prof.has(noDeadTopic)
	c.OnAppend = func(topic string, incarnation int, partition int32, _ int64, b *simkafka.Batch) {
		w.oracle.appended(c.ID, topic, incarnation, partition, b)
	}
	for i, name := range mainTopics[:w.prof.topics] {
		if i > 0 && w.rng.IntN(2) == 0 {
			w.note("topic %s is missing", name)
			continue
		}
		c.CreateTopic(name, w.prof.partitions, w.topicConfig())
	}
	if !w.prof.has(noDeadTopic) && w.rng.IntN(2) == 0 {
		c.CreateTopic(deadTopic, 1+w.rng.IntN(w.prof.partitions), simkafka.TopicConfig{})
	}
	w.mu.Lock()
	w.cluster = c
	w.mu.Unlock()
}

// topicConfig is that of a main topic beside which nothing is wrong.
func (w *world) topicConfig() simkafka.TopicConfig {
	return simkafka.TopicConfig{LogAppendTime: w.prof.appendTime}
}

// parkLocked makes a call wait for the scheduler. w.mu is held.
func (w *world) parkLocked(p *process, call *simkafka.Call) *parked {
	w.calls++
	k := &parked{p: p, call: call, at: time.Now(), done: make(chan verdict, 1)}
	w.parked = append(w.parked, k)
	select {
	case w.bell <- struct{}{}:
	default:
	}
	return k
}

// abandonLocked decides about a request that nobody waits for any more. w.mu is held.
func (w *world) abandonLocked(k *parked) {
	if k.call != nil && k.call.Batches != nil && w.prof.has(lateCopies|lostAnswers) && w.drng.IntN(3) > 0 {
		w.late = append(w.late, lateCall{k.call, time.Now()})
	}
}

// Pass implements simkafka.Gate: the call waits until the scheduler lets it go on, or its client gives up.
func (p *process) Pass(ctx context.Context, call *simkafka.Call) (protocol.Message, error) {
	w := p.w
	w.mu.Lock()
	if p.dead.Load() {
		w.mu.Unlock()
		return nil, simkafka.ErrDown
	}
	k := w.parkLocked(p, call)
	w.mu.Unlock()
	select {
	case v := <-k.done:
		return v.msg, v.err
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.parked {
		if w.parked[i] == k {
			w.parked = append(w.parked[:i], w.parked[i+1:]...)
			w.abandonLocked(k)
			break
		}
	}
	return nil, ctx.Err()
}

// described is a call in words.
type described struct{ *simkafka.Call }

func (c described) String() string {
	if c.Batches == nil {
		return fmt.Sprintf("%v to %s", c.Request.ApiKey(), c.Cluster.ID)
	}
	s := fmt.Sprintf("Produce to %s, broker %d:", c.Cluster.ID, c.Broker)
	for i := range c.Batches {
		b := &c.Batches[i]
		s += fmt.Sprintf(" %s/%d id %d epoch %d seq %d+%d (%d bytes)", b.Topic, b.Partition, b.Batch.ProducerID, b.Batch.Epoch, b.Batch.Sequence, b.Batch.Count, len(b.Batch.Wire))
	}
	return s
}

// take takes a parked call out, nil when there is none.
func (w *world) take(i int) *parked {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.parked) == 0 {
		return nil
	}
	i %= len(w.parked)
	k := w.parked[i]
	w.parked = append(w.parked[:i], w.parked[i+1:]...)
	return k
}

// diskFails reports whether the next operation of the disk fails. w.mu is held.
func (w *world) diskFails(op spooltest.Op) bool {
	if w.eio == 0 || w.healing || op == spooltest.OpRead {
		return false
	}
	w.eio--
	w.troubled = time.Now()
	return true
}

// diskWaits reports whether the next operation of the disk waits for the scheduler. w.mu is held.
func (w *world) diskWaits() bool {
	return w.prof.has(slowDisk) && !w.healing && w.drng.IntN(4) == 0
}

func (w *world) disturbed() {
	w.mu.Lock()
	w.troubled = time.Now()
	w.mu.Unlock()
}
