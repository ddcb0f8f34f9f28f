package kafka

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// refuseBad refuses batches of topic t with records whose value has the word "bad": nothing is appended, and a broker from
// 2.4 on names the records. Other batches of such a request have to come again. It returns the number of requests.
func refuseBad(c *kfake.Cluster, named bool, extra ...int32) *atomic.Int32 {
	var requests atomic.Int32
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		requests.Add(1)
		res, refused := answerAll(req, func(string, int32) int16 { return kerr.NotEnoughReplicas.Code }), false
		for i, t := range req.Topics {
			for j, p := range t.Partitions {
				bad := badRecords(p.Records)
				if t.Topic != "t" || bad == nil {
					continue
				}
				refused = true
				to := &res.Topics[i].Partitions[j]
				if to.ErrorCode = errInvalidRecord; named {
					to.ErrorRecords = bad
					for _, n := range extra {
						to.ErrorRecords = append(to.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: n})
					}
				}
			}
		}
		return res, nil, refused
	})
	return &requests
}

// badRecords names the records of a batch, which is not compressed, whose value has the word "bad".
func badRecords(records []byte) (named []kmsg.ProduceResponseTopicPartitionErrorRecord) {
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(records); err != nil {
		panic(err)
	}
	rest := batch.Records // each with its length in front
	for i := range batch.NumRecords {
		n, head := binary.Varint(rest)
		if bytes.Contains(rest[head:head+int(n)], []byte("bad")) {
			text := "it is\nbad"
			named = append(named, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: i, ErrorMessage: &text})
		}
		rest = rest[head+int(n):]
	}
	return named
}

// A batch of 400 events, every fourth refused, took 492 requests by halves. The broker names them.
func TestNamedRecordsAreTakenOutAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bad   func(int) bool
		extra []int32 // what a broker should not name
	}{
		{"every fourth", func(i int) bool { return i%4 == 0 }, nil},
		{"all", func(int) bool { return true }, nil},
		{"one", func(i int) bool { return i == 399 }, nil},
		{"nonsense too", func(i int) bool { return i%4 == 0 }, []int32{-1, 400, 1 << 30, 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
			requests := refuseBad(c, true, tt.extra...)
			s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
			var ack ackCount
			var want []string
			wantDead := map[string]bool{}
			for i := range 400 {
				r := record("k", i)
				if tt.bad(i) {
					r.Value = append(r.Value, " bad"...)
					wantDead[string(r.Value)] = true
				} else {
					want = append(want, string(r.Value))
				}
				if _, err := s.Append(patient(t), []sink.Record{r}, &ack); err != nil {
					t.Fatal(err)
				}
			}
			s.Flush()
			st := closeSink(t, s)
			if st.Delivered != int64(len(want)) || st.DeadLettered != int64(len(wantDead)) || st.PossibleDuplicates != 0 {
				t.Errorf("stats %+v", st)
			}
			ack.check(t, 0)
			if n := requests.Load(); n > 6 { // two or three, and resends when a new producer id comes between
				t.Errorf("%d requests", n)
			}
			for i, r := range consume(t, c, "t", len(want)) {
				if string(r.Value) != want[i] {
					t.Fatalf("record %d is %s, want %s", i, r.Value, want[i])
				}
			}
			for _, r := range consume(t, c, "t.dlq", len(wantDead)) {
				if !wantDead[string(r.Value)] || string(r.Key) != "k" {
					t.Errorf("dead letter %s with key %s", r.Value, r.Key)
				}
				delete(wantDead, string(r.Value))
				headers := map[string]string{}
				for _, h := range r.Headers {
					headers[h.Key] = string(h.Value)
				}
				if headers[HeaderReason] != "refused" || !strings.HasSuffix(headers[headerError], "[87]: it is bad") {
					t.Errorf("headers %v", headers)
				}
			}
		})
	}
}
