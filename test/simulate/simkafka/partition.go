package simkafka

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// TopicConfig is what of a topic's configuration a producer feels. Zero values are Kafka's defaults.
type TopicConfig struct {
	MaxMessageBytes int           // of one batch, without the size field in front of it
	LogAppendTime   bool          // the broker's time in place of the producer's
	TimestampBefore time.Duration // how far a timestamp may lie behind the broker's clock; 0: any
	TimestampAfter  time.Duration // how far ahead of it; 0: an hour
	// Refuse reports whether a record is refused for its content (INVALID_RECORD): a stand-in for rules such as
	// compaction's that every record has a key. nil: none.
	Refuse func(key, value []byte) bool
}

// partition is one partition's log, as its leader has it.
type partition struct {
	leader    int32 // -1: none
	next      int64 // offset of the next record
	producers map[int64]*producerState
	forgotten map[int64]bool
	// starved: fewer in-sync replicas than min.insync.replicas.
	starved bool
}

// producerState is what a partition remembers of one producer.
type producerState struct {
	epoch   int16
	batches []sequences // the last five, oldest first
	last    int64       // ms: the newest time in its newest batch, as stored
}

type sequences struct {
	first, last int32
	offset      int64
	timestamp   int64 // as stored: the answer to a duplicate carries it
}

// Batch is what the broker reads of a record batch. Wire is as recordbatch describes it.
type Batch struct {
	Wire       []byte
	ProducerID int64
	Epoch      int16
	Sequence   int32
	Count      int32
	MaxTime    int64

	Forgotten bool // set by a leader that takes it: it has forgotten the producer since it heard of it first
}

// ParseBatch reads a batch's header; it does not check anything but the length.
func ParseBatch(wire []byte) (b Batch, ok bool) {
	if len(wire) <= recordbatch.Overhead {
		return b, false
	}
	be := binary.BigEndian
	return Batch{
		Wire: wire, MaxTime: int64(be.Uint64(wire[39:])), ProducerID: int64(be.Uint64(wire[47:])), Epoch: int16(be.Uint16(wire[55:])),
		Sequence: int32(be.Uint32(wire[57:])), Count: int32(be.Uint32(wire[61:])),
	}, true
}

// lastSequence is the sequence of the batch's last record: sequences wrap to 0.
func (b *Batch) lastSequence() int32 {
	return int32((uint32(b.Sequence) + uint32(b.Count) - 1) & math.MaxInt32)
}

// Result is the answer about one partition.
type Result struct {
	Code       int16
	Offset     int64 // -1: none
	AppendTime int64 // ms since the Unix epoch; -1: a first append to a topic with the producer's timestamps
	Named      []int // the records that are refused, by index in the batch, where Kafka names them (KIP-467)
	Appended   bool  // not in the answer: the batch is in the log now and was not before
}

func refused(code int16) Result { return Result{Code: code, Offset: -1, AppendTime: -1} }

// append does what a leader does with a batch that has arrived, in Kafka's order.
func (p *partition) append(cfg *TopicConfig, b *Batch, now time.Time, expiry time.Duration) Result {
	if p.starved {
		return refused(CodeNotEnoughReplicas)
	}
	if code, named := validate(cfg, b, now); code != CodeOK {
		r := refused(code)
		r.Named = named
		return r
	}
	at := int64(-1)
	stored := b.MaxTime
	if cfg.LogAppendTime {
		at = now.UnixMilli()
		stored = at
	}
	if b.ProducerID != noProducer {
		p.forget(now, expiry)
		if dup, ok := p.duplicate(b); ok {
			return Result{Offset: dup.offset, AppendTime: dup.timestamp}
		}
		if code := p.inOrder(b); code != CodeOK {
			return refused(code)
		}
		b.Forgotten = p.forgotten[b.ProducerID]
		p.remember(b, stored)
	}
	r := Result{Offset: p.next, AppendTime: at, Appended: true}
	p.next += int64(b.Count)
	return r
}

// validate is UnifiedLog.analyzeAndValidateRecords and LogValidator: what is asked before anything is compared with
// what the log has. It names the records that are refused, each for one reason; one for its time decides about the code.
func validate(cfg *TopicConfig, b *Batch, now time.Time) (code int16, named []int) {
	limit := cfg.MaxMessageBytes
	if limit == 0 {
		limit = defaultMaxMessageBytes
	}
	if len(b.Wire)-4 > limit {
		return CodeMessageTooLarge, nil
	}
	if crc32.Checksum(b.Wire[25:], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b.Wire[21:]) {
		return CodeCorruptMessage, nil
	}
	if b.ProducerID != noProducer && b.Sequence < 0 || b.Count <= 0 || int32(binary.BigEndian.Uint32(b.Wire[27:]))+1 != b.Count {
		return CodeInvalidRecord, nil
	}
	after := cfg.TimestampAfter
	if after == 0 {
		after = defaultTimestampAfterMs * time.Millisecond
	}
	ms, i, timed := now.UnixMilli(), 0, false
	err := recordbatch.Decode(b.Wire, recordbatch.MaxRecordsBytes, func(ts int64, key, value []byte, _ []sink.Header) bool {
		switch {
		case cfg.Refuse != nil && cfg.Refuse(key, value):
			named = append(named, i)
		case cfg.LogAppendTime || ts == recordbatch.NoTimestamp:
		case ts-ms > after.Milliseconds(), cfg.TimestampBefore != 0 && ms-ts > cfg.TimestampBefore.Milliseconds():
			timed, named = true, append(named, i)
		}
		i++
		return true
	})
	switch {
	case err != nil:
		return CodeCorruptMessage, nil
	case timed:
		return CodeInvalidTimestamp, named
	case len(named) > 0:
		return CodeInvalidRecord, named
	}
	return CodeOK, nil
}

// forget drops the state of producers that wrote nothing for expiry (producer.id.expiration.ms), by the newest time in
// their newest batch: -1, no time, is long ago. A broker looks every ten minutes (producer.id.expiration.check.interval.ms).
func (p *partition) forget(now time.Time, expiry time.Duration) {
	for id, st := range p.producers {
		if now.UnixMilli()-st.last >= expiry.Milliseconds() {
			delete(p.producers, id)
			if p.forgotten == nil {
				p.forgotten = map[int64]bool{}
			}
			p.forgotten[id] = true
		}
	}
}

// duplicate finds the batch among the producer's last five: same epoch, same first and last sequence. The bytes are
// not compared.
func (p *partition) duplicate(b *Batch) (sequences, bool) {
	st := p.producers[b.ProducerID]
	if st == nil || st.epoch != b.Epoch {
		return sequences{}, false
	}
	for _, s := range st.batches {
		if s.first == b.Sequence && s.last == b.lastSequence() {
			return s, true
		}
	}
	return sequences{}, false
}

// inOrder is ProducerAppendInfo.checkProducerEpoch and checkSequence. A producer that is not known may begin anywhere.
func (p *partition) inOrder(b *Batch) int16 {
	st := p.producers[b.ProducerID]
	switch {
	case st == nil:
		return CodeOK
	case b.Epoch < st.epoch:
		return CodeInvalidEpoch
	case b.Epoch > st.epoch:
		if b.Sequence != 0 {
			return CodeOutOfOrderSequence
		}
		return CodeOK
	}
	last := st.batches[len(st.batches)-1].last
	if b.Sequence == last+1 || b.Sequence == 0 && last == math.MaxInt32 {
		return CodeOK
	}
	return CodeOutOfOrderSequence
}

// last is the producer that wrote last, and the sequence that it goes on with; false: there is none.
func (p *partition) last() (id int64, epoch int16, next int32, ok bool) {
	var newest *producerState
	for i, st := range p.producers {
		if newest == nil || st.batches[len(st.batches)-1].offset > newest.batches[len(newest.batches)-1].offset {
			id, newest = i, st
		}
	}
	if newest == nil {
		return 0, 0, 0, false
	}
	last := newest.batches[len(newest.batches)-1].last
	return id, newest.epoch, int32((uint32(last) + 1) & math.MaxInt32), true
}

func (p *partition) remember(b *Batch, stored int64) {
	st := p.producers[b.ProducerID]
	if st == nil || st.epoch != b.Epoch {
		st = &producerState{epoch: b.Epoch}
		p.producers[b.ProducerID] = st
	}
	if len(st.batches) == rememberedBatches {
		st.batches = append(st.batches[:0], st.batches[1:]...)
	}
	st.batches = append(st.batches, sequences{b.Sequence, b.lastSequence(), p.next, stored})
	st.last = stored
}
