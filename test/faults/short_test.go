package faults

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// TestSlowAndAway: a broker that throttles, and one that is away while large events come.
func TestSlowAndAway(t *testing.T) {
	beside(t)
	l := newLab(t)
	t.Run("a quota of 20 kB a second", func(t *testing.T) { quota(t, l) })
	for _, ack := range []string{"accept", "disk"} {
		t.Run("large events in an outage, "+ack, func(t *testing.T) { largeEvents(t, l, ack) })
	}
}

// quota: the broker answers what is beyond its quota at once and says how long it wants to be left alone: here for
// longer than a request may take. What is sent meanwhile waits for nothing but another answer, so nothing is sent
// twice, and nothing over a connection that was made to get past the pause. On a machine that is so busy that the broker
// itself takes longer than a request may, that cannot be seen: then it is tried again.
func quota(t *testing.T, l *lab) {
	for try := 1; !quotaHolds(t, l, fmt.Sprint("throttled-", try)); try++ {
		if try == 3 {
			t.Fatal("the broker is silent in each try: it is too slow, or pauses are taken for silence")
		}
	}
}

// quotaHolds returns false if the broker was silent.
func quotaHolds(t *testing.T, l *lab, client string) bool {
	const size, each, bursts = 1000, 100, 4
	topic := "quota-" + client
	l.kafka.Topic(t, topic, 4, nil)
	withAdmin(t, l.kafka.Bootstrap(), func(ctx context.Context, a *kadm.Client) error {
		_, err := a.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{
			Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &client}}, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 20_000}},
		}})
		return err
	})
	p := start(t, proc.Serve(proc.Build(t), l.kafka.Advertised(), topic, "--ack", "accept", "--codec", "none",
		"--client-id", client, "--request-timeout", "2s"))
	before := l.fleet.Proxy(0).Stats()
	posted := 0
	for burst := range bursts {
		var events []string
		for i := range each {
			events = append(events, fmt.Sprintf(`{"traceId":"k%d","n":"%d-%d","logs":"%s"}`, i, burst, i, strings.Repeat("x", size)))
			posted += len(events[i])
		}
		postBody(t, p, "["+strings.Join(events, ",")+"]")
		if burst == bursts/2 { // the rest comes while the broker wants no more
			waitFor(t, "a word of the quota", func() bool { return metric(t, p, "ingest_kafka_throttled_seconds_total") > 0 })
		}
	}
	p.WaitLedger(t, patience, "delivery", func(g *proc.Ledger) bool { return g.Delivered == bursts*each })
	after := l.fleet.Proxy(0).Stats()
	resent := metric(t, p, "ingest_kafka_retries_total")
	_, books := stop(t, p)
	sent := after.Requested - before.Requested
	t.Logf("%d bytes posted, %d sent in requests, %d connections, %.0f batches sent again", posted, sent, after.Connections-before.Connections, resent)
	if resent != 0 && len(logged(p, "does not answer")) > 0 {
		return false
	}
	if sent > int64(posted)*11/10 {
		t.Errorf("%d bytes were sent for %d that were posted", sent, posted)
	}
	if resent != 0 || books.PossibleDuplicates+books.DuplicatesSuppressed+books.DroppedTotal()+books.DeadLettered != 0 {
		t.Errorf("%.0f batches were sent again; ledger %+v", resent, books)
	}
	if n, err := l.kafka.Count(topic); err != nil || n != bursts*each {
		t.Errorf("%d records, %v", n, err)
	}
	return true
}

// TestSmallRequests: a broker takes requests of 100,000 bytes at most (socket.request.max.bytes), which is less than a
// batch, and ends the connection of who sends more. Nothing larger is sent.
func TestSmallRequests(t *testing.T) {
	beside(t)
	const topic, events, size, limit = "small", 4000, 1000, 100_000
	l := newLab(t, kafkatest.WithProperty("socket.request.max.bytes", fmt.Sprint(limit)))
	l.kafka.Topic(t, topic, 4, nil)
	p := start(t, proc.Serve(proc.Build(t), l.kafka.Advertised(), topic, "--ack", "accept", "--codec", "none", "--linger", "1s"))
	var body []string
	for i := range events {
		body = append(body, fmt.Sprintf(`{"traceId":"k%d","n":%d,"logs":"%s"}`, i%100, i, strings.Repeat("x", size)))
	}
	for part := range slices.Chunk(body, 500) {
		postBody(t, p, "["+strings.Join(part, ",")+"]")
	}
	postBody(t, p, `[{"traceId":"large","logs":"`+strings.Repeat("x", 2*limit)+`"}]`)
	p.WaitLedger(t, patience, "delivery", func(g *proc.Ledger) bool {
		return g.Delivered == events && g.InFlight == 0 && g.Admitted == events+1
	})
	resent := metric(t, p, "ingest_kafka_retries_total")
	_, books := stop(t, p)
	t.Logf("%.0f batches sent again, ledger %+v", resent, books)
	if largest := l.fleet.Proxy(0).Stats().Largest; largest > limit || largest < limit/2 {
		t.Errorf("the largest request had %d bytes", largest)
	}
	if resent != 0 || books.PossibleDuplicates != 0 || books.Delivered != events {
		t.Errorf("%.0f batches were sent again; ledger %+v", resent, books)
	}
	in := map[string]int{}
	for _, m := range kafkatest.Kcat(t, l.kafka.Bootstrap(), topic) {
		in[string(m.Value)]++
	}
	for _, event := range body {
		if in[event] != 1 {
			t.Fatalf("%.100q is there %d times", event, in[event])
		}
	}
}

// largeEvents: more of them than memory holds are taken, because they go to disk, and all come in their order.
func largeEvents(t *testing.T, l *lab, ack string) {
	const events, size = 60, 300 << 10
	topic := topicName("large", ack)
	l.kafka.Topic(t, topic, 2, nil)
	p := start(t, proc.Serve(proc.Build(t), l.kafka.Advertised(), topic, "--ack", ack, "--codec", "none", "--memory-limit", "64MiB",
		"--spool-dir", filepath.Join(t.TempDir(), "spool")))
	proxy := l.fleet.Proxy(0)
	must(t, proxy.Refuse(true))
	t.Cleanup(func() { must(t, proxy.Refuse(false)) })
	proxy.CutAll()
	value := func(i int) []byte {
		return fmt.Appendf(nil, `{"traceId":"k%d","n":%d,"logs":"%s"}`, i%4, i, bytes.Repeat([]byte("x"), size))
	}
	for i := range events {
		postBody(t, p, "["+string(value(i))+"]")
	}
	p.WaitLedger(t, patience, "events on disk", func(g *proc.Ledger) bool { return g.Admitted == events && g.Spooled > events/2 })
	must(t, proxy.Refuse(false))
	p.WaitLedger(t, patience, "delivery", func(g *proc.Ledger) bool { return g.Delivered == events && g.Spooled == 0 })
	_, books := stop(t, p)
	if books.DroppedTotal()+books.DeadLettered+books.PossibleDuplicates != 0 {
		t.Errorf("ledger %+v", books)
	}
	next := map[string]int{"k0": 0, "k1": 1, "k2": 2, "k3": 3}
	for _, m := range kafkatest.Kcat(t, l.kafka.Bootstrap(), topic) {
		i := next[string(m.Key)]
		if next[string(m.Key)] += 4; !bytes.Equal(m.Value, value(i)) {
			t.Fatalf("instead of event %d of key %s: %.100q", i, m.Key, m.Value)
		}
	}
	for key, i := range next {
		if i < events {
			t.Errorf("event %d of key %s is not there", i, key)
		}
	}
}

// postBody posts until the body is taken.
func postBody(t *testing.T, p *proc.Process, body string) {
	t.Helper()
	client := http.Client{Timeout: patience}
	waitFor(t, "a body taken", func() bool {
		res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(body))
		must(t, err)
		res.Body.Close()
		if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a body is answered %d", res.StatusCode)
		}
		return res.StatusCode == http.StatusOK
	})
}

func metric(t *testing.T, p *proc.Process, name string) float64 {
	t.Helper()
	m, err := p.Metrics()
	must(t, err)
	v, ok := m[name]
	if !ok {
		t.Fatalf("no metric %s", name)
	}
	return v
}
