package kafka

import (
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// notAfter makes a broker refuse what has a later timestamp, in all topics.
func notAfter(t *testing.T, c *kfake.Cluster, latest int64) {
	const late, again = errTimestamp, 19
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

// A time that the broker refuses costs an event its timestamp, not its topic: it is sent again without one, with
// the time in a header. A dead letter as well.
func TestARefusedTimeCostsTheTimestampAlone(t *testing.T) {
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
	if st.Delivered != 4 || st.DeadLettered != 1 || len(st.Dropped) != 0 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	main, dead := consume(t, c, "t", 4), consume(t, c, "t.dlq", 1)
	for i, want := range []int64{1, latest + 1, latest + 2, 2} {
		checkTime(t, main[i], want, latest)
	}
	checkTime(t, dead[0], latest+3, latest)
}

// checkTime checks that a record has its time as its timestamp, or in a header if that is later than latest. A
// neighbour of the same second may have lost its timestamp as well.
func checkTime(t *testing.T, r *kgo.Record, want, latest int64) {
	t.Helper()
	ms, text := r.Timestamp.UnixMilli(), header(r, headerTimestamp)
	kept := ms == want && text == "" && want <= latest
	moved := ms == recordbatch.NoTimestamp && text == strconv.FormatInt(want, 10)
	if !kept && !moved {
		t.Errorf("record %s has the timestamp %d and the header %q; its time is %d", r.Value, ms, text, want)
	}
}

// Events that span more than a second are told apart: those within the bound keep their timestamps.
func TestARefusedTimeLeavesOtherSecondsAlone(t *testing.T) {
	const latest = 100_000
	c := cluster(t, 1)
	notAfter(t, c, latest)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	var ack ackCount
	for i := range 200 {
		r := record("k", i)
		r.Timestamp = int64(i) * 1000
		if _, err := s.Append(patient(t), []sink.Record{r}, &ack); err != nil {
			t.Fatal(err)
		}
	}
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.Delivered != 200 || st.DeadLettered != 0 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	timed := 0
	for i, r := range consume(t, c, "t", 200) {
		checkTime(t, r, int64(i)*1000, latest)
		if r.Timestamp.UnixMilli() >= 0 {
			timed++
		}
	}
	if timed < 99 {
		t.Errorf("%d of 101 good timestamps were kept", timed)
	}
}
