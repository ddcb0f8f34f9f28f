package simulate

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/simulate/simkafka"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// trouble begins or ends one of the profile's troubles.
func (w *world) trouble() {
	var can []family
	for i := range familyNames {
		if f := family(1 << i); w.prof.has(f) {
			can = append(can, f)
		}
	}
	if len(can) == 0 {
		w.release()
		return
	}
	one := mainTopics[w.anyTopic()]
	if w.prof.topics > 1 && w.rng.IntN(4) == 0 {
		w.makeTopic(one)
	}
	topic := one
	if w.rng.IntN(5) == 0 {
		topic = deadTopic
	}
	partition := w.rng.IntN(max(w.cluster.Partitions(topic), 1))
	switch f := can[w.rng.IntN(len(can))]; f {
	case lateCopies:
		w.arrive()
	case moves:
		to := int32(w.rng.IntN(w.cluster.Brokers()+1)) - 1
		if to >= 0 && !w.cluster.Up(to) {
			to = -1
		}
		w.move(topic, partition, to)
	case outages, lateCluster:
		w.outage(w.rng.IntN(3) > 0)
	case limits:
		limit := []int{0, 300, 1500, 8000}[w.rng.IntN(4)]
		w.configure(topic, fmt.Sprint("max.message.bytes ", limit), func(c *simkafka.TopicConfig) { c.MaxMessageBytes = limit })
	case clocks:
		bound := []time.Duration{0, time.Millisecond, time.Second, 10 * time.Second}[w.rng.IntN(4)]
		w.configure(topic, fmt.Sprint("message.timestamp.before.max.ms ", bound), func(c *simkafka.TopicConfig) { c.TimestampBefore = bound })
	case contents:
		if w.rng.IntN(2) == 0 {
			w.configure(one, "takes everything", func(c *simkafka.TopicConfig) { c.Refuse = nil })
			break
		}
		w.refuseSome(one)
	case growth:
		if n := w.cluster.Partitions(topic); n > 0 && n < 7 {
			w.note("%s grows to %d partitions", topic, n+1)
			w.cluster.AddPartitions(topic, n+1)
		}
	case anew, fewer:
		n := w.cluster.Partitions(one)
		if n == 0 {
			break // it is missing
		}
		if f == fewer {
			n = 1 + w.rng.IntN(n)
		}
		w.note("%s is made anew with %d partitions", one, n)
		w.cluster.DeleteTopic(one)
		w.cluster.CreateTopic(one, n, w.topicConfig())
	case otherCluster:
		w.otherCluster()
	case brokenDisk:
		w.mu.Lock()
		w.eio = w.rng.IntN(6)
		w.note("disk: the next %d operations fail", w.eio)
		w.mu.Unlock()
	case fullDisk:
		w.fill(w.rng.IntN(3) > 0)
	case kills, powerLoss:
		if w.rng.IntN(3) == 0 {
			w.kill(f == powerLoss)
			w.restart()
		}
	case damage:
		w.flip()
	case clones:
		w.clone(w.rng.IntN(max(w.cluster.Partitions(mainTopic), 1)))
	case restarts:
		if w.proc.closing == nil && w.rng.IntN(3) == 0 {
			w.terminate()
		}
	default:
		w.release()
	}
}

// makeTopic creates a main topic that is missing.
func (w *world) makeTopic(name string) {
	if w.cluster.Partitions(name) == 0 {
		w.note("topic %s is made", name)
		w.cluster.CreateTopic(name, w.prof.partitions, w.topicConfig())
	}
}

func (w *world) configure(topic, what string, edit func(*simkafka.TopicConfig)) {
	w.note("%s: %s", topic, what)
	w.cluster.Configure(topic, edit)
}

// refuseSome lets a topic refuse the events whose number ends with a digit.
func (w *world) refuseSome(topic string) (digit int) {
	digit = w.rng.IntN(10)
	last := byte('0' + digit)
	w.configure(topic, fmt.Sprint("refuses events that end with ", digit), func(c *simkafka.TopicConfig) {
		c.Refuse = func(_, value []byte) bool { id, _, _ := bytes.Cut(value, []byte(" ")); return id[len(id)-1] == last }
	})
	return digit
}

func (w *world) move(topic string, partition int, to int32) {
	w.note("%s/%d is led by %d", topic, partition, to)
	w.cluster.Move(topic, partition, to)
}

// outage stops brokers, all or some, or starts them all.
func (w *world) outage(begin bool) {
	if !begin {
		w.note("all brokers are up")
		w.cluster.Heal()
		return
	}
	all := w.rng.IntN(2) == 0 || w.prof.has(lateCluster) && w.calls == 0
	for id := range w.cluster.Brokers() {
		if all || w.rng.IntN(2) == 0 {
			w.note("broker %d stops", id)
			w.cluster.SetBroker(id, false, w.rng.IntN(2) == 0)
		}
	}
}

// otherCluster lets the addresses lead to a new cluster, in which other instances write.
func (w *world) otherCluster() {
	if w.clusters > 3 {
		return
	}
	n := w.cluster.Partitions(mainTopic)
	w.newCluster()
	if !w.prof.has(fewer) {
		w.cluster.AddPartitions(mainTopic, n)
		w.cluster.AddPartitions(deadTopic, 7)
	}
	w.note("the addresses lead to %s", w.cluster.ID)
	w.oracle.asksAnew()
	if w.rng.IntN(3) == 0 {
		w.cluster.NewProducer()
	}
	for range 1 + w.rng.IntN(3) {
		w.foreign()
	}
}

// fill lets others fill the disk, or free it.
func (w *world) fill(full bool) {
	if full {
		left := w.rng.Int64N(4096)
		w.note("disk: others leave %d bytes", left)
		w.disk.SetBudget(w.disk.Used() + left)
	} else {
		w.note("disk: there is room again")
		w.disk.SetBudget(1 << 30)
	}
	w.disturbed()
}

// flip damages a byte of a segment.
func (w *world) flip() {
	var names []string
	for _, name := range w.disk.Names() {
		if strings.HasSuffix(name, ".seg") && len(w.disk.Bytes(name)) > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	name := names[w.rng.IntN(len(names))]
	at := w.rng.Int64N(int64(len(w.disk.Bytes(name))))
	w.note("disk: the byte at %d of %s flips", at, name)
	w.disk.Flip(name, at)
}

// kill ends the process with everything that was in its memory.
func (w *world) kill(power bool) {
	p := w.proc
	w.note("kill process %d, power lost: %v", p.life, power)
	st := p.sink.Stats()
	w.mu.Lock()
	hung := slices.Clone(w.parked) // some of it since just now: the process may have gone on already
	w.mu.Unlock()
	for _, k := range hung {
		if k.call == nil {
			w.oracle.back(k)
		}
	}
	if power {
		w.disk = w.disk.Crash(w.rng)
		w.boots++
		if w.prof.spool {
			w.oracle.loses(w.onDisk())
		}
	} else {
		w.disk = w.disk.Kill()
	}
	w.proc, w.killed = nil, true
	p.kill()
	p.stats = st
	w.book(p)
	w.mu.Lock()
	w.spoolOpen = false
	w.mu.Unlock()
	w.disturbed()
}

// onDisk are the numbers of the events that the next process finds in the spool.
func (w *world) onDisk() map[int]bool {
	found := map[int]bool{}
	sp, err := spool.Open(w.spoolConfig(), spool.Deps{FS: w.disk.Kill(), Boot: fmt.Sprint("boot ", w.boots), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return found
	}
	defer sp.Close()
	for _, q := range sp.Queues() {
		for f, pos, err := q.PeekAfter(0, nil); err == nil; f, pos, err = q.PeekAfter(pos, nil) {
			_ = recordbatch.Decode(f.Batch, recordbatch.MaxRecordsBytes, func(_ int64, _, value []byte, _ []sink.Header) bool {
				if e := w.oracle.eventOf(value); e != nil {
					found[e.id] = true
				}
				return true
			})
		}
	}
	return found
}

func (w *world) restart() {
	w.proc = w.newProcess()
	if w.prof.has(lateSpool) && w.rng.IntN(2) == 0 {
		w.proc.busyUntil = time.Now().Add(time.Duration(8+w.rng.IntN(10)) * time.Second)
	}
}

// terminate stops the process as SIGTERM does, and starts the next one. Until it has ended the world goes on.
func (w *world) terminate() {
	p := w.proc
	limit := time.Duration(3+w.rng.IntN(10)) * time.Second
	w.note("stop process %d within %v", p.life, limit)
	w.close(p, limit)
	clean := w.tranquil()
	if n := w.rng.IntN(3); n == 0 {
		w.outage(true)
	}
	for range 400 {
		w.step()
		clean = clean && w.tranquil()
		if w.violated() {
			return
		}
		if w.proc != p {
			return // it was killed meanwhile
		}
		select {
		case err := <-p.closing:
			p.closing = nil
			w.ended(p, err, clean)
			w.restart()
			return
		default:
		}
		if w.rng.IntN(4) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
	}
	// Its calls were not let go on in time.
	w.kill(false)
	w.restart()
}

// answer is one in words.
type answer struct {
	msg protocol.Message
	err error
}

func (a answer) String() string {
	res, ok := a.msg.(*produce.Response)
	switch {
	case a.err != nil:
		return a.err.Error()
	case !ok:
		return "answered"
	}
	s := ""
	for i := range res.Topics {
		for _, p := range res.Topics[i].Partitions {
			s += fmt.Sprintf(" %s/%d: code %d, offset %d", res.Topics[i].Topic, p.Partition, p.ErrorCode, p.BaseOffset)
		}
	}
	return s
}
