package pipeline

import (
	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/pkg/decode"
	"functiongraph-ingest/pkg/sink"
)

const (
	popBatch = 32 // bodies taken from the ring at once
	// appendBatch is how many events go to the sink under one lock. Large enough that the lock costs
	// nothing per event, small enough that a sender does not wait for long.
	appendBatch = 64
	// maxBad is how many bad regions of one body are dead letters of their own. A body of a megabyte can have half a
	// million, and each costs fifty times its bytes in the dead-letter topic.
	maxBad = 1000
)

// decoder is one goroutine's state.
type decoder struct {
	p    *Pipeline
	d    decode.Decoder
	e    decode.Event
	recs [appendBatch]sink.Record
	n    int // records waiting to be appended

	events, dead, lost int  // of the body at hand
	ended              bool // it ended an invocation
	rest               rest
	logs               []byte

	topics     topics
	split      bool // there are several
	clock      clock
	recall     recall
	correlated [appendBatch]correlated // of recs
	yes        [4]byte                 // the value of HeaderColdStart
}

func newDecoder(p *Pipeline) *decoder {
	return &decoder{p: p, topics: p.cfg.Topics.table(), split: p.cfg.Topics != (Topics{}), yes: [...]byte{'t', 'r', 'u', 'e'}}
}

// decode takes bodies out of the ring until it is closed and empty.
func (p *Pipeline) decode() {
	dec := newDecoder(p)
	var bodies [popBatch]*body.Body
	for {
		n, err := p.ring.PopBatch(bodies[:])
		if err != nil {
			return
		}
		if p.stir != nil {
			p.stir()
		}
		p.look(bodies[0].AdmittedAt)
		for i, b := range bodies[:n] {
			bodies[i] = nil
			dec.body(b)
		}
	}
}

// body appends all events of one body to the sink and gives the body back.
func (dec *decoder) body(b *body.Body) {
	p, del := dec.p, b.Delivery
	var ack sink.Ack
	if del != nil {
		ack = del
	}
	dec.events, dec.dead, dec.lost = 0, 0, 0
	dec.d.Reset(b.Data, decode.Options{Lenient: p.cfg.Lenient, NDJSON: b.NDJSON})
	for dec.d.Next(&dec.e) {
		if dec.e.Reason != decode.OK {
			dec.bad(b, ack)
			continue
		}
		if dec.e.Kind != decode.Unknown && dec.e.Kind != decode.Function && dec.special(b.AdmittedAt) {
			continue
		}
		key := dec.key()
		if dec.e.Reason != decode.OK { // the key is too long
			dec.bad(b, ack)
			continue
		}
		r := &dec.recs[dec.n] // what is not set here stays zero: it is so for all records or for none
		r.Key, r.Value, r.Type = key, dec.e.Raw(), dec.e.Kind.Name()
		r.Timestamp, r.BodyID, r.Offset = b.AdmittedAt, b.ID, int64(dec.e.Offset())
		if p.cfg.EventTime {
			r.Timestamp = dec.timestamp(b.AdmittedAt)
		}
		if dec.split {
			r.Topic = dec.topic()
		}
		if p.intervals != nil {
			r.Headers = dec.correlate(b.AdmittedAt)
		}
		if dec.n++; dec.n == appendBatch {
			dec.flush(ack)
		}
	}
	dec.flush(ack)
	dec.buryRest(b, ack)
	if dec.ended {
		dec.ended = false
		p.lastEnded(b.AdmittedAt)
	}
	if dec.d.Notes().Any() {
		p.repaired.Add(1)
	}
	p.decoded.bodies.Add(1)
	p.decoded.bytes.Add(int64(len(b.Data)))
	p.room.Release(b)
	if del != nil {
		del.Events, del.DeadLettered, del.Truncated = dec.events, dec.dead, dec.d.Notes().Unclosed
		del.Settle(dec.lost) // the decoder's own part
	}
}

// key is the key of the event or bad region at hand; nil: it has none.
func (dec *decoder) key() []byte {
	switch cfg := &dec.p.cfg; {
	case cfg.NoKey:
		return nil
	case cfg.Key == "":
		return dec.e.Key(nil)
	default:
		return dec.e.FieldKey(cfg.Key, nil)
	}
}

const (
	// An event's own time is taken if it lies within these bounds of its admission, in milliseconds: brokers refuse
	// times that are an hour ahead of their clock, and a wrong one keeps its segment for too long or too short a time.
	maxAhead  = 10 * 60 * 1000
	maxBehind = 24 * 60 * 60 * 1000
)

// timestamp is that of the record of an event with its own time, in milliseconds since the Unix epoch.
func (dec *decoder) timestamp(admitted int64) int64 {
	if ms, ok := dec.clock.start(&dec.e); ok && ms >= admitted-maxBehind && ms <= admitted+maxAhead {
		return ms
	}
	return admitted
}

// flush appends the records that wait.
func (dec *decoder) flush(ack sink.Ack) {
	if dec.n == 0 {
		return
	}
	dec.events += dec.n
	took, err := dec.p.sink.Append(dec.p.abortCtx, dec.recs[:dec.n], ack)
	if err != nil {
		dec.drop(dec.n - took)
	}
	dec.n = 0
}

// rest is what stands for the bad regions beyond maxBad: one dead letter, from the first of them to the end of the
// last. Good events between them are delivered, and are in it too.
type rest struct {
	regions         int
	from, to, wrong int
	reason          decode.Reason
}

// bad sends a bad region to the dead letters, or adds it to the rest.
func (dec *decoder) bad(b *body.Body, ack sink.Ack) {
	if dec.dead >= maxBad {
		if r := &dec.rest; r.regions == 0 {
			*r = rest{from: dec.e.Offset(), wrong: dec.e.ErrorOffset(), reason: dec.e.Reason}
		}
		dec.rest.regions++
		dec.rest.to = dec.e.Offset() + len(dec.e.Raw())
		return
	}
	dec.dead++
	err := dec.p.sink.DeadLetter(dec.p.abortCtx, &sink.DeadLetter{
		Raw: dec.e.Raw(), Reason: dec.e.Reason.String(), Offset: int64(dec.e.Offset()), ErrorOffset: int64(dec.e.ErrorOffset()),
		BodyID: b.ID, Key: dec.key(), Topic: dec.topic(), Timestamp: b.AdmittedAt,
	}, ack)
	if err != nil {
		dec.drop(1)
	}
}

// buryRest sends the rest, which counts as one event, to the dead letters.
func (dec *decoder) buryRest(b *body.Body, ack sink.Ack) {
	r := dec.rest
	if r.regions == 0 {
		return
	}
	dec.rest = rest{}
	dec.dead++
	err := dec.p.sink.DeadLetter(dec.p.abortCtx, &sink.DeadLetter{
		Raw: b.Data[r.from:r.to], Reason: r.reason.String(), Offset: int64(r.from), ErrorOffset: int64(r.wrong), BodyID: b.ID, Timestamp: b.AdmittedAt,
	}, ack)
	if err != nil {
		dec.drop(1)
	}
}

// drop counts events that the sink did not take: only at the end of a shutdown.
func (dec *decoder) drop(n int) {
	dec.p.dropped.Add(int64(n))
	dec.lost += n
}
