package kafka

import (
	"encoding/json"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// loss is what was dropped because there was no room, and has not been reported yet.
type loss struct {
	Events int64 `json:"events"`
	Bytes  int64 `json:"bytes"`
	First  int64 `json:"first"` // when the first of them was dropped, ms since the Unix epoch
	Last   int64 `json:"last"`
}

// losses are the dropped events that have not been reported yet.
type losses struct{ full, expired loss }

// add counts dropped events. s.mu is held.
func (l *loss) add(events, bytes int) {
	now := time.Now().UnixMilli()
	if l.Events == 0 {
		l.First = now
	}
	l.Events, l.Bytes, l.Last = l.Events+int64(events), l.Bytes+int64(bytes), now
}

// reportLossesLocked sends what was dropped for want of room, and for its age, to the dead letters, one record each, now that
// Kafka takes batches again and a second has passed without another loss, or at the last moment. They are no events: the
// ledger does not count them.
func (s *deadLetters) reportLossesLocked(last bool) {
	s.reportLossLocked(&s.losses.full, DroppedSpoolFull, s.cfg.SpoolFull.String(), last)
	s.reportLossLocked(&s.losses.expired, DroppedExpired, "max-age", last)
}

func (s *deadLetters) reportLossLocked(ls *loss, reason, policy string, last bool) {
	if ls.Events == 0 || !last && time.Since(time.UnixMilli(ls.Last)) < time.Second || s.room.deadFull() {
		return
	}
	value, err := json.Marshal(struct {
		Reason string `json:"reason"`
		Policy string `json:"policy"`
		loss
	}{reason, policy, *ls})
	if err != nil {
		panic("kafka: " + err.Error()) // numbers and strings: cannot fail
	}
	r := sink.Record{Value: value, Timestamp: time.Now().UnixMilli(), Headers: s.deadHeaders(nil, s.topics[0], ReasonLoss, len(value))}
	to := s.dead.stickyLane()
	b := s.privateBatch(to, &r, nil, recordbatch.RecordSize(r.Key, r.Value, r.Headers))
	s.want.deadTopicSoon()
	s.enqueue(to, b)
	s.log.Warn("dropped events are reported among the dead letters", "reason", reason, "events", ls.Events, "bytes", ls.Bytes, "since", time.UnixMilli(ls.First).UTC())
	*ls = loss{}
}

// ReasonLoss is the reason of a report about dropped events among the dead letters.
const ReasonLoss = "loss"
