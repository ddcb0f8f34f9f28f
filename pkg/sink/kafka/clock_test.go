package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// notAfter makes a broker refuse what has a later timestamp, in all topics.
func notAfter(t *testing.T, c *kfake.Cluster, latest int64) {
	const late, again = errTimestamp, 7
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		refused := false
		for _, topic := range req.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic = topic.Topic
			for _, p := range topic.Partitions {
				var rb kmsg.RecordBatch
				if err := rb.ReadFrom(p.Records); err != nil {
					t.Error(err)
				}
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, again
				if rb.MaxTimestamp > latest {
					part.ErrorCode, refused = late, true
				}
				answer.Partitions = append(answer.Partitions, part)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, refused
	})
}

// A clock that is further ahead than brokers take: the events become dead letters, and their topic, which
// has the same limit, takes them, for they have no timestamp there.
func TestClockAheadOfTheBrokerLosesNoDeadLetter(t *testing.T) {
	const latest = 1000
	c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
	notAfter(t, c, latest)
	s := start(t, c, nil)
	var ack ackCount
	for i, at := range []int64{1, latest + 1, latest + 2, 2} {
		r := record("k", i)
		r.Timestamp = at
		if _, err := s.Append(patient(t), []sink.Record{r}, &ack); err != nil {
			t.Fatal(err)
		}
	}
	bad := &sink.DeadLetter{Raw: []byte("{,}"), Reason: "bad_structure", Timestamp: latest + 3}
	if err := s.DeadLetter(patient(t), bad, &ack); err != nil {
		t.Fatal(err)
	}
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.Delivered != 2 || st.DeadLettered != 3 || len(st.Dropped) != 0 {
		t.Errorf("stats %+v", st)
	}
	for _, r := range consume(t, c, "t.dlq", 3) {
		if ms := r.Timestamp.UnixMilli(); ms != recordbatch.NoTimestamp {
			t.Errorf("dead letter %s has the timestamp %d", r.Value, ms)
		}
	}
}
