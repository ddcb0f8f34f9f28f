package simulate

import (
	"strings"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Heal ends all troubles at once, so it does not see a trouble that stops what has nothing to do with it. In schedules of
// a scenario that is lasting some are left first: a partition without a leader, dead letters that no topic takes, content that is
// refused, a full disk. Beside them all others must go on.

const (
	lastingTime = 240 * time.Second
	// lastingTail is the part of it in which no more events come, and within which all that came before must be delivered.
	lastingTail = 120 * time.Second
	// lastingHead is the part of it that the sink has to find out what is well again: what comes meanwhile may wait for a
	// partition that was the key's before, or go to the dead letters for one that could not move.
	lastingHead = 30 * time.Second
)

// lasting is what is left.
type lasting struct {
	what      []string
	topic     string // of the partition without a leader
	partition int
	refuses   map[string]int // by topic: the last digit of the events that are refused
	full      bool           // the disk
}

// last ends all troubles but some, and looks whether what does not need those goes on.
func (w *world) last() {
	left := w.leave()
	if w.violated() {
		return
	}
	w.note("all is well again, except: %s", strings.Join(left.what, ", "))
	begun, first := time.Now(), 0
	for pause := 5 * time.Millisecond; time.Since(begun) < lastingTime; pause = min(pause*5/4, 2*time.Second) {
		if left.full && w.disk.Used() < w.full {
			w.fillUp()
		}
		if w.calmly(pause); w.violated() {
			return
		}
		age := time.Since(begun)
		if age < lastingHead {
			first = len(w.oracle.events)
		}
		if age < lastingTime-lastingTail {
			w.append()
		}
	}
	w.judgeLasting(&left, w.oracle.events[first:])
}

// leave ends all troubles except those that last, which the seed chooses among the profile's.
func (w *world) leave() (left lasting) {
	w.mend()
	if w.prof.has(fullDisk) && w.rng.IntN(4) > 0 {
		left.full, left.what = true, append(left.what, "the disk is full")
		w.fillUp()
	}
	if w.prof.has(noDeadTopic) {
		if w.rng.IntN(2) == 0 {
			left.what = append(left.what, "the topic for dead letters takes none")
			w.makeTopic(deadTopic)
			for i := range w.cluster.Partitions(deadTopic) {
				w.cluster.Starve(deadTopic, i, true)
			}
		} else {
			left.what = append(left.what, "no topic for dead letters")
			w.cluster.ForbidTopics = true
		}
	}
	if w.prof.has(contents) {
		left.refuses, left.what = map[string]int{}, append(left.what, "some content is refused")
		for _, topic := range mainTopics[:w.prof.topics] {
			left.refuses[topic] = w.refuseSome(topic)
		}
	}
	if n := w.cluster.Partitions(mainTopic); w.prof.has(moves) && (n > 1 || w.prof.topics > 1) {
		left.topic, left.partition = mainTopics[w.anyTopic()], w.rng.IntN(n)
		left.what = append(left.what, left.topic+" has a partition without a leader")
		w.move(left.topic, left.partition, -1)
	}
	return left
}

// fillUp lets others take what is left of the disk.
func (w *world) fillUp() {
	w.full = w.disk.Used()
	w.disk.SetBudget(w.full + w.rng.Int64N(4096))
	w.disturbed()
}

// calmly lets d pass and everything that waits go on at once.
func (w *world) calmly(d time.Duration) {
	for end := time.After(d); ; {
		if w.settle(); w.violated() {
			return
		}
		select {
		case <-w.bell:
		case <-end:
			w.settle()
			return
		}
	}
}

// judgeLasting looks whether each of these events has arrived, if nothing that lasts stands in its way.
func (w *world) judgeLasting(left *lasting, events []*event) {
	p := w.proc
	st := p.sink.Stats()
	dropped := 0
	for _, n := range st.Dropped {
		dropped += int(n)
	}
	o := w.oracle
	o.mu.Lock()
	defer o.mu.Unlock()
	missing := 0
	for _, e := range events {
		if e.main > 0 || !w.unhindered(left, e) {
			continue
		}
		if missing++; missing > dropped {
			o.violate("no trouble of its own, but has not arrived after %v: %v; left: %s; ready %v, spool %v, %+v", lastingTail, e, strings.Join(left.what, ", "), p.sink.Ready(), p.sink.Metrics().SpoolState, st)
		}
	}
	// A process that no partition has taken anything from cannot tell that it is not the whole cluster that takes nothing
	// (docs/guarantees.md, a partition that cannot move).
	for _, a := range p.appenders {
		if st.Delivered > 0 && a.busy.Load() && time.Since(a.since) > lastingTail {
			o.violate("a source waits for room for %v; left: %s; ready %v, spool %v, %+v", time.Since(a.since), strings.Join(left.what, ", "), p.sink.Ready(), p.sink.Metrics().SpoolState, st)
		}
	}
}

// unhindered reports whether nothing that lasts stands in the event's way.
func (w *world) unhindered(left *lasting, e *event) bool {
	if digit, some := left.refuses[e.topic]; e.dead || some && e.id%10 == digit {
		return false
	}
	if left.topic == "" {
		return true
	}
	n := w.cluster.Partitions(e.topic)
	return e.key != "" && (e.topic != left.topic || int(recordbatch.Partition([]byte(e.key), n)) != left.partition)
}
