package kafka

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// TestAnAppendTimeIsNoAckUnlessItMayBeOurs: a broker that takes a batch for another producer's answers "success" with an
// append time. Whatever is known of the topic, such an answer is an acknowledgement only if it can be about these bytes.
func TestAnAppendTimeIsNoAckUnlessItMayBeOurs(t *testing.T) {
	const mine, others = 0, 1 // the batch's own time, and another one
	for _, c := range []struct {
		keeps  times
		sends  int
		at     int64 // in the answer
		unsafe bool
		acked  bool
		then   times // what is known after it
		second int64 // in the answer to the batch under another id
	}{
		{timesUnknown, 1, -1, false, true, timesCreate, 0},
		{timesUnknown, 1, mine, false, false, timesUnknown, -1},
		{timesUnknown, 1, mine, false, false, timesUnknown, others},
		{timesUnknown, 1, others, false, false, timesUnknown, -1},
		{timesUnknown, 1, others, false, false, timesUnknown, others},
		{timesUnknown, 2, mine, false, true, timesUnknown, 0},
		{timesUnknown, 2, others, false, false, timesUnknown, -1},
		{timesUnknown, 2, others, false, false, timesUnknown, others},
		{timesUnknown, 1, others, true, true, timesUnknown, 0}, // no ids: nothing is taken for anything
		{timesUntold, 1, -1, false, true, timesCreate, 0},
		{timesUntold, 1, others, false, true, timesUntold, 0},
		{timesUntold, 2, others, false, true, timesUntold, 0},
		{timesCreate, 1, -1, false, true, timesCreate, 0},
		{timesCreate, 1, mine, false, false, timesCreate, -1},
		{timesCreate, 1, mine, false, false, timesCreate, others},
		{timesCreate, 1, others, false, false, timesCreate, -1},
		{timesCreate, 1, others, false, false, timesCreate, others},
		{timesCreate, 2, mine, false, true, timesCreate, 0},
		{timesCreate, 2, others, false, false, timesCreate, -1},
		{timesCreate, 2, others, false, false, timesCreate, others},
		{timesAppend, 1, others, false, true, timesAppend, 0},
		{timesAppend, 1, -1, false, true, timesCreate, 0}, // the topic was changed
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			s, l, w := bench(t)
			s.topics[0].keeps, s.topics[0].unanswered, s.unsafe = c.keeps, unansweredQuestions, c.unsafe
			b := holds(t, l, 3)
			for range c.sends - 1 {
				w.sends(t, l).maybeWritten = true
			}
			if !w.addLocked(l, time.Now()) {
				t.Fatal("the request is full")
			}
			w.resolve(answerAt(c.at), nil, time.Now())
			if got := s.Stats().Delivered == 3; got != c.acked || s.topics[0].keeps != c.then {
				t.Fatalf("acknowledged: %v, want %v; known: %v, want %v", got, c.acked, s.topics[0].keeps, c.then)
			}
			if c.acked {
				return
			}
			if l.head != b || b.stamped {
				t.Fatal("it does not go again under another stamp")
			}
			// No other process has this id. So what the second answer has, the topic keeps.
			s.current, l.retryAt = producer{id: 9, gen: s.current.gen + 1}, time.Time{}
			if !w.addLocked(l, time.Now()) {
				t.Fatal("the request is full")
			}
			want := timesCreate
			if c.second >= 0 {
				want = timesAppend
			}
			w.resolve(answerAt(c.second), nil, time.Now())
			if s.Stats().Delivered != 3 || s.topics[0].keeps != want || s.possibleDuplicates.Load() != 3 {
				t.Errorf("under a new id: known %v, want %v; %+v", s.topics[0].keeps, want, s.Stats())
			}
		})
	}
}

func answerAt(at int64) *produce.Response {
	return &produce.Response{Topics: []produce.ResponseTopic{{Topic: "t", Partitions: []produce.ResponsePartition{{LogAppendTime: at}}}}}
}

// TestACopyBeforeTheTimestampTypeIsKnown: a copy of the process has written under the same stamp, and no broker has told
// whether the topic keeps the records' own timestamps: the answer to the question is lost, or is an error that passes.
func TestACopyBeforeTheTimestampTypeIsKnown(t *testing.T) {
	for name, code := range map[string]int16{"no answer": 0, "an error that passes": 3} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, 1)
			c.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				return refusesToTell(r, code)
			})
			var n atomic.Int32
			c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				if n.Add(1) > 1 {
					return nil, nil, false
				}
				resp := answerAll(r.(*kmsg.ProduceRequest), func(string, int32) int16 { return 0 })
				resp.Topics[0].Partitions[0].LogAppendTime = time.Now().UnixMilli()
				return resp, nil, true // and nothing is appended
			})
			s := start(t, c, nil)
			var ack ackCount
			if _, err := s.Append(patient(t), []sink.Record{record("k", 0)}, &ack); err != nil {
				t.Fatal(err)
			}
			st := closeSink(t, s)
			ack.check(t, 0)
			if st.Delivered != 1 || st.PossibleDuplicates != 1 {
				t.Errorf("stats %+v", st)
			}
			consume(t, c, "t", 1)
		})
	}
}

// TestDeliveryWithoutTheRightToDescribe: where the brokers do not tell, an append time is believed, and nothing is sent
// twice for it.
func TestDeliveryWithoutTheRightToDescribe(t *testing.T) {
	c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
	c.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return refusesToTell(r, 29) // TOPIC_AUTHORIZATION_FAILED
	})
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := answerAll(r.(*kmsg.ProduceRequest), func(string, int32) int16 { return 0 })
		resp.Topics[0].Partitions[0].LogAppendTime = time.Now().UnixMilli()
		return resp, nil, true
	})
	s := start(t, c, nil)
	var ack ackCount
	for i := range 3 {
		if _, err := s.Append(patient(t), []sink.Record{record("k", i)}, &ack); err != nil {
			t.Fatal(err)
		}
	}
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.Delivered != 3 || st.PossibleDuplicates != 0 || s.Metrics().Retries != 0 {
		t.Errorf("stats %+v, %d sent again", st, s.Metrics().Retries)
	}
}

// refusesToTell answers a question for settings with a code for all that it asks; 0: with no answer at all.
// TestABatchThatGoesAgainLeavesMemory: a batch that was read back from disk and whose answer is no ack is evicted, as one that
// failed is. Else each partition could keep one in memory, beyond the bound for frames that are read back.
func TestABatchThatGoesAgainLeavesMemory(t *testing.T) {
	for _, keeps := range []times{timesUnknown, timesCreate} {
		s, l, w := bench(t)
		s.topics[0].keeps, s.topics[0].unanswered = keeps, unansweredQuestions
		b := holds(t, l, 3)
		if !w.addLocked(l, time.Now()) {
			t.Fatal("the request is full")
		}
		b.pos, b.loaded = 1, true
		w.resolve(answerAt(0), nil, time.Now())
		if l.head != b || b.loaded || b.rb != nil || s.ackedAt != (time.Time{}) {
			t.Errorf("keeps %v: in doubt %v, loaded %v, bytes %v, counted as an ack at %v", keeps, l.head == b, b.loaded, b.rb != nil, s.ackedAt)
		}
	}
}

// TestTheEndWaitsForOneQuestion: no question for the type of the timestamps is answered, and the process ends. What was
// accepted is sent after the first one, since a batch that may come twice is better than none.
func TestTheEndWaitsForOneQuestion(t *testing.T) {
	c := cluster(t, 1)
	var asked atomic.Int32
	c.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if r.(*kmsg.DescribeConfigsRequest).Resources[0].ResourceType != ofTopic {
			return nil, nil, false
		}
		asked.Add(1)
		return nil, nil, true // no answer
	})
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.RequestTimeout = 8 * time.Second })
	appendAll(t, s, 1, 1, nil)
	waitFor(t, func() bool { return asked.Load() > 0 })
	if st := closeSink(t, s); st.Delivered != 1 || asked.Load() >= unansweredQuestions {
		t.Errorf("%d questions, stats %+v", asked.Load(), st)
	}
}

// TestBrokersThatCannotTellAreAskedOnce: a broker without the request, or one that answers with a code that has nothing to
// do with the moment, does not tell. That is no lost answer, so it neither holds up the first batch nor doubles it.
func TestBrokersThatCannotTellAreAskedOnce(t *testing.T) {
	for _, code := range []int16{-9, 40, 42, 54} { // -9: the request is not offered
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			c := cluster(t, 1)
			if code == -9 {
				c.ControlKey(int16(kmsg.ApiVersions), func(r kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					resp := r.ResponseKind().(*kmsg.ApiVersionsResponse)
					for key, most := range map[kmsg.Key]int16{kmsg.Produce: 8, kmsg.Metadata: 6, kmsg.ApiVersions: 0, kmsg.InitProducerID: 1} {
						resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(key), MaxVersion: most})
					}
					return resp, nil, true
				})
			}
			c.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				return refusesToTell(r, code)
			})
			c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				resp := answerAll(r.(*kmsg.ProduceRequest), func(string, int32) int16 { return 0 })
				resp.Topics[0].Partitions[0].LogAppendTime = time.Now().UnixMilli()
				return resp, nil, true
			})
			s := start(t, c, nil)
			appendAll(t, s, 1, 1, nil)
			waitFor(t, func() bool { return s.Stats().Delivered == 1 })
			s.mu.Lock()
			keeps, unanswered := s.topics[0].keeps, s.topics[0].unanswered
			s.mu.Unlock()
			if st := closeSink(t, s); st.PossibleDuplicates != 0 || keeps != timesUntold || unanswered != 0 {
				t.Errorf("keeps %v, %d unanswered, %+v", keeps, unanswered, st)
			}
		})
	}
}

func refusesToTell(r kmsg.Request, code int16) (kmsg.Response, error, bool) {
	if code == 0 {
		return nil, errors.New("cut"), true
	}
	resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, asked := range r.(*kmsg.DescribeConfigsRequest).Resources {
		res := kmsg.NewDescribeConfigsResponseResource()
		res.ErrorCode, res.ResourceType, res.ResourceName = code, asked.ResourceType, asked.ResourceName
		resp.Resources = append(resp.Resources, res)
	}
	return resp, nil, true
}
