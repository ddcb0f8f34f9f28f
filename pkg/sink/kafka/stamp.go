package kafka

import "math"

// A broker tells a resend from new records by a batch's stamp: producer id, epoch and base sequence. It
// answers a stamp that it has seen with "success", whatever bytes came with it. So one rule keeps the
// promise that an acknowledged event is in the log:
//
//	A stamp that was sent is never given to other bytes.
//
// This file is the only place that makes stamps. It has no lock, no clock and no I/O.

// producer is a producer id that the cluster has given to this sink. gen orders the ids; 0 is none.
type producer struct {
	id      int64
	epoch   int16
	gen     int
	cluster string // the id of the cluster that gave it; "": not known
}

// stamp is what identifies a batch to the broker of its partition.
type stamp struct {
	producer
	seq int32 // of the batch's first record; 0 follows 2^31-1
}

// noProducer is the stamp of batches on a cluster that gives no producer ids: nothing recognises a resend.
var noProducer = stamp{producer: producer{id: -1, epoch: -1}, seq: -1}

// stamps gives the batches of one partition their stamps. At most one batch at a time has a stamp that is
// neither acknowledged nor abandoned: a partition has at most one batch in doubt.
//
// The stamp that another process gave to a batch (a frame in doubt that was found in the spool) is no
// business of stamps: that batch goes again under it, and the partition's own sequence goes on behind it.
type stamps struct {
	next stamp // for the next batch; gen 0: it begins with the sink's current id
	out  bool  // next was given to a batch that is neither acknowledged nor abandoned
	past int   // ids up to this generation are not used any more
}

// ready reports whether give has a stamp; else it needs an id newer than past.
func (t *stamps) ready(current producer) bool {
	return t.next.gen > t.past || current.gen > t.past
}

// give returns the stamp for a batch that has none, or whose stamp was abandoned. The caller has asked ready.
func (t *stamps) give(current producer) stamp {
	if t.out {
		panic("kafka: a partition has two batches in doubt")
	}
	if t.next.gen <= t.past {
		t.next = stamp{producer: current}
	}
	t.out = true
	return t.next
}

// withdraw takes back a stamp that was given and not sent.
func (t *stamps) withdraw(st stamp) {
	if t.gave(st) {
		t.out = false
	}
}

// acked notes that the batch of n records with st is in the log.
func (t *stamps) acked(st stamp, n int) {
	if !t.gave(st) {
		return
	}
	t.out = false
	t.next.seq = int32((uint32(t.next.seq) + uint32(n)) & math.MaxInt32)
}

// abandon notes that no batch will be acknowledged under st: its batch left the partition, or the broker
// refuses the stamp itself. The epoch ends with it, so that a late copy of the request is refused by the
// broker instead of being appended behind newer records.
func (t *stamps) abandon(st stamp) {
	switch {
	case !t.gave(st):
	case st.epoch == math.MaxInt16:
		t.forget(st.gen)
	default:
		t.out = false
		t.next.epoch++
		t.next.seq = 0
	}
}

// retire ends the use of ids up to gen for batches that have no stamp yet. The one that is out keeps its own.
func (t *stamps) retire(gen int) { t.past = max(t.past, gen) }

// forget ends the use of ids up to gen: they belong to another cluster, or another producer uses them.
func (t *stamps) forget(gen int) {
	if t.past = max(t.past, gen); t.next.gen <= t.past {
		t.out = false
	}
}

// gave reports whether st is the stamp that is out.
func (t *stamps) gave(st stamp) bool { return t.out && t.next == st }
