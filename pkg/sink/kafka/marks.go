package kafka

import (
	"encoding/json"
	"maps"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// HeaderMark is the header of a mark record, a statement of a sink about its sequence among its events; its value is
// MarkPeriodic or MarkFinal. A mark is no event: no ledger counts it, and it has no number.
const (
	HeaderMark   = "ingest-mark"
	MarkPeriodic = "periodic"
	MarkFinal    = "final"

	markName = "ingest.mark"
)

// Mark is the value of a mark record, as JSON. Its name and startTime stand where those of a telemetry event stand, so
// that a consumer that goes by names passes over it.
type Mark struct {
	Name      string `json:"name"`      // ingest.mark
	StartTime string `json:"startTime"` // when it was made, RFC 3339
	Start     string `json:"start"`     // the random id in the numbers
	Final     bool   `json:"final"`     // the sequence has ended: there are no more numbers
	Numbers   int64  `json:"numbers"`   // given so far: those from 0 on below this one
	// Safe: every number below it belongs to an event that was delivered, dead-lettered, set aside or counted as dropped,
	// or that is on disk. Those from it on were in memory.
	Safe     int64            `json:"safe"`
	SetAside int64            `json:"setAside"` // events of this sequence that are kept whole in a file
	Lost     int64            `json:"lost"`     // events that were dropped since it began, of an earlier process's too
	Dropped  map[string]int64 `json:"dropped,omitempty"`
	Open     int64            `json:"open"` // events in memory and on disk, of an earlier process's too
}

// marks is when marks are made. core.mu guards it.
type marks struct {
	at       time.Time // when the last one was made
	numbers  int64     // what it said
	final    bool      // there was a last one
	lost     int64     // before the sequence began
	setAside int64
}

// markSoonLocked makes a mark if the last one is long enough ago. now is about the wall clock.
func (s *Sink) markSoonLocked() {
	m := &s.marks
	if s.cfg.MarkInterval <= 0 || s.numbers.headers == HeadersNone || s.closed {
		return
	}
	now := time.Now()
	if m.at.IsZero() {
		m.at = now
	}
	if now.Sub(m.at) < s.cfg.MarkInterval || s.number() == m.numbers {
		return
	}
	var lanes []*lane
	for _, t := range s.markedTopics(false) {
		if l := s.laneForLocked(t, nil); l != nil && s.room.oversizeFits(t, recordbatch.ChunkSize) {
			lanes = append(lanes, l)
		}
	}
	s.mark(lanes, false)
}

// markedTopics are the topics that get the next mark: they got records since the last mark, or, if it is the final one,
// since the sequence began. Numbers that all went elsewhere, to the dead letters, are stated in the first topic.
func (s *core) markedTopics(final bool) (topics []*topic) {
	for _, t := range s.topics {
		if t.fresh || final && t.used {
			topics = append(topics, t)
		}
	}
	if topics == nil {
		topics = s.topics[:1]
	}
	return topics
}

// markLane is where a final mark goes; nil: the partitions are not known, and there is no spool.
func markLane(t *topic) *lane {
	switch {
	case len(t.lanes) > 0 && t.unassigned == nil:
		return t.stickyLane()
	case t.core.deps.OpenSpool != nil:
		return t.unassignedLane()
	}
	return nil
}

// movingLane is where a final mark goes that has to be delivered; nil: it cannot be.
func movingLane(t *topic) *lane {
	if len(t.lanes) == 0 {
		return nil
	}
	if l := t.stickyLane(); !l.stuck() {
		return l
	}
	return nil
}

// lastMarks makes the final marks, in the lane that where gives for each topic, unless there were some, or nothing is to be
// said. It reports whether it did.
func (s *core) lastMarks(where func(*topic) *lane) bool {
	m := &s.marks
	if s.cfg.MarkInterval <= 0 || s.numbers.headers == HeadersNone || m.final || s.number() == 0 {
		return false
	}
	var lanes []*lane
	for _, t := range s.markedTopics(true) {
		if l := where(t); l != nil {
			lanes = append(lanes, l)
		}
	}
	m.final = len(lanes) > 0
	s.mark(lanes, true)
	return m.final
}

// mark puts the same mark into each of lanes.
func (s *core) mark(lanes []*lane, final bool) {
	if len(lanes) == 0 {
		return
	}
	m, now := &s.marks, time.Now()
	lost, dropped := s.lostSoFar()
	value, err := json.Marshal(Mark{
		Name: markName, StartTime: now.UTC().Format("2006-01-02T15:04:05.000Z"), Start: s.numbers.start, Final: final,
		Numbers: s.number(), Safe: s.safe(), SetAside: s.count.setAside - m.setAside, Lost: lost - m.lost, Dropped: dropped,
		Open: s.count.inFlight + s.count.spooled,
	})
	if err != nil {
		panic("kafka: " + err.Error()) // numbers and strings: cannot fail
	}
	kind := MarkPeriodic
	if final {
		kind = MarkFinal
	}
	r := sink.Record{Value: value, Timestamp: now.UnixMilli(), Headers: []sink.Header{{Key: HeaderMark, Value: []byte(kind)}}}
	if s.deps.Origin != nil {
		r.Headers = append(r.Headers, s.deps.Origin()...)
	}
	for _, l := range lanes {
		b := s.privateBatch(l, &r, nil, recordbatch.RecordSize(r.Key, r.Value, r.Headers))
		s.enqueue(l, b)
		l.topic.fresh = false
	}
	m.at, m.numbers = now, s.number()
}

// lostSoFar is all that was dropped.
func (s *core) lostSoFar() (sum int64, dropped map[string]int64) {
	s.dropDamaged()
	dropped = maps.Clone(s.count.dropped)
	for _, n := range dropped {
		sum += n
	}
	return sum, dropped
}

// safe is Mark.Safe: the lowest number of what is in memory only.
func (s *core) safe() int64 {
	low := s.count.admitted
	look := func(b *batch) {
		if b == nil || !b.unframed() {
			return
		}
		for ; b != nil; b = b.parent { // parts do not know their numbers
			if b.lowest != 0 {
				low = min(low, b.lowest-1)
			}
		}
	}
	for l := range s.lanes() {
		look(l.head)
		look(l.open)
		for _, b := range l.children {
			look(b)
		}
		for _, b := range l.queue {
			look(b)
		}
	}
	return max(0, low-s.numbers.base)
}
