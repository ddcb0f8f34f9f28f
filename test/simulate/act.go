package simulate

import (
	"fmt"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/simulate/simkafka"
)

const foreignKey = "another instance"

// act does one thing, chosen by the seed.
func (w *world) act() {
	switch n := w.rng.IntN(100); {
	case n < 38:
		w.release()
	case n < 60:
		if !w.append() {
			w.pass()
		}
	case n < 84:
		w.pass()
	default:
		w.trouble()
	}
}

// pass lets time pass.
func (w *world) pass() {
	steps := []time.Duration{time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond,
		300 * time.Millisecond, 600 * time.Millisecond, time.Second, 3 * time.Second, 12 * time.Second}
	n := len(steps) - 1
	if w.rng.IntN(3) > 0 {
		n -= 3
	}
	if w.prof.quick {
		n = 4
	}
	d := steps[w.rng.IntN(n+1)]
	if p := w.proc; p != nil && time.Now().Before(p.busyUntil) && w.rng.IntN(2) == 0 {
		d = 3 * time.Second // few processes would live until their spool is opened
	}
	w.note("time: %v", d)
	time.Sleep(d)
}

// append gives an idle source something to append; false: there is none.
func (w *world) append() bool {
	var idle []*appender
	for _, a := range w.proc.appenders {
		if !a.busy.Load() {
			idle = append(idle, a)
		}
	}
	if len(idle) == 0 || w.proc.closing != nil {
		return false
	}
	a := idle[w.rng.IntN(len(idle))]
	t := task{ack: &ack{o: w.oracle, p: w.proc, held: 1}}
	if w.prof.has(deadLetters) && w.rng.IntN(6) == 0 {
		topic := w.anyTopic()
		e := w.oracle.add(mainTopics[topic], "", 0, w.proc.life, true)
		t.ack.events = []*event{e}
		t.dead = &sink.DeadLetter{Raw: e.value(w.size()), Reason: "bad_value", Topic: topic, Timestamp: time.Now().UnixMilli()}
		w.note("dead letter: event %d", e.id)
		a.give(t)
		return true
	}
	n := 1
	if w.rng.IntN(4) == 0 {
		n += w.rng.IntN(4)
	}
	for range n {
		key := ""
		if w.rng.IntN(8) > 0 {
			key = fmt.Sprintf("k%d-%d", a.id, w.rng.IntN(3))
		}
		topic := w.anyTopic()
		at := mainTopics[topic] + "/" + key // the same key in each topic
		e := w.oracle.add(mainTopics[topic], key, w.keys[at], w.proc.life, false)
		w.keys[at]++
		r := sink.Record{Topic: topic, Value: e.value(w.size()), Timestamp: time.Now().UnixMilli()}
		if key != "" {
			r.Key = []byte(key)
		}
		t.ack.events = append(t.ack.events, e)
		t.recs = append(t.recs, r)
	}
	w.note("append: %d events from %d, key %q, %d bytes", n, t.ack.events[0].id, t.ack.events[0].key, len(t.recs[0].Value))
	a.give(t)
	return true
}

// anyTopic is one of the main topics, as sink.Record has it.
func (w *world) anyTopic() int {
	if w.prof.topics == 1 {
		return 0 // the schedules of scenarios with one topic stay as they are
	}
	return w.rng.IntN(w.prof.topics)
}

func (w *world) size() int {
	switch n := w.rng.IntN(8); {
	case w.prof.has(bigEvents) && n == 7:
		return bigEvent + w.rng.IntN(bigEvent/2)
	case n < w.prof.medium:
		return 1000 + w.rng.IntN(6000)
	}
	return 20 + w.rng.IntN(200)
}

// release lets one parked call go on, and decides what becomes of it.
func (w *world) release() {
	k := w.take(w.rng.IntN(1 << 20))
	if k == nil {
		w.pass()
		return
	}
	if k.call == nil {
		var err error
		if w.prof.has(brokenDisk) && w.rng.IntN(8) == 0 {
			err = errIO
			w.disturbed()
		}
		w.note("release %s: %v", k, err)
		w.oracle.back(k)
		k.done <- verdict{err: err}
		return
	}
	if !w.reachable(k.call) {
		w.note("release %s: no connection", k)
		k.done <- verdict{err: simkafka.ErrDown}
		return
	}
	lose := func(f family, odds int) bool { return w.prof.has(f) && w.rng.IntN(odds) == 0 }
	switch {
	case lose(lateCopies, 8) && k.call.Batches != nil:
		w.note("release %s: held up, the connection breaks", k)
		w.mu.Lock()
		w.late = append(w.late, lateCall{k.call, time.Now()})
		w.mu.Unlock()
		k.done <- verdict{err: simkafka.ErrDown}
		return
	case lose(lostAnswers, 16):
		w.note("release %s: lost", k)
		k.done <- verdict{err: simkafka.ErrDown}
		return
	}
	msg, err := k.call.Serve(w.codes)
	if lose(lostAnswers, 6) {
		w.note("release %s: its answer %v is lost", k, answer{msg, err})
		msg, err = nil, simkafka.ErrDown
	} else {
		w.note("release %s: %v", k, answer{msg, err})
		w.oracle.hears(k.call.Request)
		w.oracle.answered(k.call, msg)
	}
	k.done <- verdict{msg, err}
}

// reachable reports whether the call's cluster is there, with the broker or any.
func (w *world) reachable(c *simkafka.Call) bool {
	if c.Cluster != w.cluster {
		return false // its brokers are gone
	}
	if c.Broker >= 0 {
		return c.Cluster.Up(c.Broker)
	}
	for id := range c.Cluster.Brokers() {
		if c.Cluster.Up(int32(id)) {
			return true
		}
	}
	return false
}

// codes makes brokers answer with errors that need a reason which is not modelled.
func (w *world) codes(*simkafka.Sent) (before, after int16) {
	if w.healing {
		return 0, 0
	}
	early := []int16{simkafka.CodeUnknownTopic, simkafka.CodeNotLeader, simkafka.CodeStorage, simkafka.CodeNotEnoughReplicas,
		simkafka.CodeThrottlingExceeded, simkafka.CodeCorruptMessage, simkafka.CodeTopicAuthorization, simkafka.CodeLeaderNotAvailable,
		simkafka.CodeOutOfOrderSequence, simkafka.CodeInvalidEpoch}
	late := []int16{simkafka.CodeTimedOut, simkafka.CodeNotEnoughAfter, simkafka.CodeUnknownTopic, simkafka.CodeNotLeader, simkafka.CodeStorage}
	if w.prof.has(earlyCodes) && w.rng.IntN(5) == 0 {
		before = early[w.rng.IntN(len(early))]
	} else if w.prof.has(lateCodes) && w.rng.IntN(5) == 0 {
		after = late[w.rng.IntN(len(late))]
	}
	return before, after
}

// arrive lets a request arrive that its client has given up.
func (w *world) arrive() {
	w.mu.Lock()
	if len(w.late) == 0 {
		w.mu.Unlock()
		return
	}
	i := w.rng.IntN(len(w.late))
	c := w.late[i]
	w.late = append(w.late[:i], w.late[i+1:]...)
	w.mu.Unlock()
	// A request that is older than what brokers remember could not be told from a new one. Nothing waits that long.
	old := w.prof.expiry != 0 && time.Since(c.since) >= w.prof.expiry
	if w.reachable(c.Call) && !old {
		w.oracle.travels(time.Since(c.since))
		msg, err := c.Serve(nil)
		w.oracle.travels(0)
		w.note("arrives late: %s: %v", described{c.Call}, answer{msg, err})
	}
}

// clone lets another process write as a copy of this one would: under its producer id and epoch, the sequences that follow.
func (w *world) clone(partition int) {
	id, epoch, seq, ok := w.cluster.LastProducer(mainTopic, partition)
	if !ok {
		return
	}
	for range 1 + w.rng.IntN(2) {
		// Of another time than any event: an answer to a resend can be told from one about this batch by that only.
		seq = w.write(partition, id, epoch, seq, 1+w.rng.IntN(2), time.Now().Add(20*time.Minute))
	}
	w.note("a copy of the process writes under id %d to partition %d, sequences up to %d", id, partition, seq)
}

// write appends a batch of n records that are no events, and returns the sequence behind it.
func (w *world) write(partition int, id int64, epoch int16, seq int32, n int, at time.Time) int32 {
	rb := recordbatch.NewPrivateBatch(1024)
	defer rb.Release()
	for range n {
		rb.TryAppend(at.UnixMilli(), []byte(foreignKey), []byte("foreign"), nil)
	}
	rb.Stamp(id, epoch, seq)
	b, _ := simkafka.ParseBatch(rb.AppendTo(nil))
	for broker := range w.cluster.Brokers() {
		w.cluster.Append(int32(broker), mainTopic, int32(partition), &b)
	}
	return seq + int32(n)
}

// foreign lets another instance write, with the producer ids that the cluster hands out.
func (w *world) foreign() {
	id := w.cluster.NewProducer()
	n := 1 + w.rng.IntN(3)
	partition := w.rng.IntN(max(w.cluster.Partitions(mainTopic), 1))
	seq := int32(0)
	for range n {
		seq = w.write(partition, id, 0, seq, 1+w.rng.IntN(2), time.Now())
	}
	w.note("another instance writes under id %d to partition %d, sequences up to %d", id, partition, seq)
}
