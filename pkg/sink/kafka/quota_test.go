package kafka

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// A broker that asks for a pause gets no produce request before its end, of no partition, and the pause is counted.
func TestAPauseThatABrokerAsksForIsKept(t *testing.T) {
	t.Parallel()
	const pause = 3 * time.Second
	c := cluster(t, 2, kfake.NumBrokers(1))
	var mu sync.Mutex
	var times []time.Time
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if times = append(times, time.Now()); len(times) > 1 {
			return nil, nil, false
		}
		res := refuseAll(req.(*kmsg.ProduceRequest), kerr.NotEnoughReplicas)
		res.ThrottleMillis = int32(pause.Milliseconds())
		return res, nil, true
	})
	seen := func() []time.Time { mu.Lock(); defer mu.Unlock(); return slices.Clone(times) }
	s := start(t, c, nil)
	put := func(partition int) {
		t.Helper()
		if _, err := s.Append(patient(t), []sink.Record{record(keysOf(partition, 2, 1)[0], partition)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	put(0)
	waitFor(t, func() bool { return s.Metrics().Throttled != 0 }) // until it is read, another worker may send
	put(1)
	waitFor(t, func() bool { return s.Stats().Delivered == 2 })
	if at := seen(); at[1].Sub(at[0]) < pause {
		t.Errorf("the second request came after %v, the broker asked for %v", at[1].Sub(at[0]), pause)
	}
	if got := s.Metrics().Throttled; got != pause {
		t.Errorf("%v are counted, want %v", got, pause)
	}
}
