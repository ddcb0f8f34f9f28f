package test

import (
	"fmt"
	"strings"
	"testing"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// A compacted topic takes no record without a key. Kafka names those that it refuses: they become dead letters at
// once, with its reason, and the others of their batch are delivered.
func TestCompactedTopicRefusesEventsWithoutKey(t *testing.T) {
	t.Parallel()
	k := kafka(t)
	k.Topic(t, "compacted", 1, map[string]string{"cleanup.policy": "compact"})
	p := proc.Start(t, proc.Serve(proc.Build(t), k.Bootstrap(), "compacted"))
	var elements []string
	for i := range 400 {
		e := fmt.Sprintf(`{"traceId":"t","n":%d}`, i)
		if i%4 == 0 {
			e = fmt.Sprintf(`{"n":%d}`, i)
		}
		elements = append(elements, e)
	}
	if status, answer := post(t, p, "application/json", []byte("["+strings.Join(elements, ",")+"]")); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	metrics, err := p.Metrics()
	must(t, err)
	code, l := p.MustStop(t)
	if code != 0 || l.Delivered != 300 || l.DeadLettered != 100 {
		t.Errorf("exit %d, ledger %+v", code, l)
	}
	dead := kafkatest.Kcat(t, k.Bootstrap(), "compacted.dlq")
	for i := range dead {
		why, _ := dead[i].Header("ingest-error")
		if !strings.Contains(why, "[87]") || !strings.Contains(why, "without key") {
			t.Fatalf("ingest-error is %q", why)
		}
	}
	if len(dead) != 100 {
		t.Errorf("%d dead letters", len(dead))
	}
	if n := metrics["ingest_kafka_requests_total"]; n > 10 {
		t.Errorf("%v requests", n) // by halves there are hundreds
	}
	t.Logf("%v requests", metrics["ingest_kafka_requests_total"])
}
