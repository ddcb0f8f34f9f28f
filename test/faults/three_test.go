package faults

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// onlyAddressGone: the one address of --brokers is that of a broker that is killed. All partitions have other leaders,
// and delivery goes on; also to a partition that is added meanwhile.
func onlyAddressGone(t *testing.T, kafka *kafkatest.Cluster, bin string) {
	const topic, rounds, each = "only-address", 3, 20
	kafka.Topic(t, topic, 3, nil)
	inSync(t, kafka, topic)
	victim := leadersOf(t, kafka, topic)[0]
	only := strings.Split(kafka.Bootstrap(), ",")[victim]
	p := start(t, proc.Serve(bin, only, topic, "--ack", "kafka", "--ack-timeout", "3m", "--metadata-ttl", "1s"))
	keys := 0
	post := func(what string) {
		t.Helper()
		for range each {
			name := fmt.Sprintf(`{"traceId":"key-%d"}`, keys)
			keys++
			res, err := (&http.Client{Timeout: 2 * patience}).Post(p.URL("/"), "application/json", strings.NewReader(name))
			must(t, err)
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("%s: an event is answered %d", what, res.StatusCode)
			}
		}
	}
	post("before")
	must(t, kafka.Kill(victim))
	post("after the kill")
	withAdmin(t, kafka.Bootstrap(), func(ctx context.Context, a *kadm.Client) error {
		_, err := a.UpdatePartitions(ctx, 6, topic)
		return err
	})
	waitFor(t, "an event in a new partition", func() bool {
		post("after the growth")
		offsets, err := kafka.EndOffsets(topic)
		return err == nil && len(offsets) == 6 && slices.Max(offsets[3:]) > 0
	})
	must(t, kafka.Restart(victim))
	_, books := stop(t, p)
	if n, err := kafka.Count(topic); err != nil || n != int64(keys) || books.Delivered != int64(keys) || books.PossibleDuplicates != 0 {
		t.Errorf("%d events in the topic, %d posted, %v; ledger %+v", n, keys, err, books)
	}
}

func inSync(t *testing.T, kafka *kafkatest.Cluster, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, kafka.WaitInSync(ctx, topic))
}

// oneFrozen: a broker keeps its connections and answers nothing. A client of another broker's partition waits no
// longer than a client of a second process, whose topic has no partition at the frozen broker.
func oneFrozen(t *testing.T, kafka *kafkatest.Cluster, bin string) {
	const topic, control, lasts = "frozen", "frozen-control", 15 * time.Second
	createUnreplicated(t, kafka, topic, stuckPartitions)
	leaders := leadersOf(t, kafka, topic)
	victim := leaders[0]
	keyOf := func(leaders []int, healthy bool) string {
		for i := 0; ; i++ {
			key := fmt.Sprint("key-", i)
			if at := recordbatch.Partition([]byte(key), len(leaders)); (leaders[at] != victim) == healthy {
				return fmt.Sprintf(`{"traceId":%q}`, key)
			}
		}
	}
	createUnreplicated(t, kafka, control, 2*stuckPartitions)
	other := leadersOf(t, kafka, control)
	serve := func(topic string) *proc.Process {
		return start(t, proc.Serve(bin, kafka.Bootstrap(), topic, "--ack", "kafka", "--ack-timeout", "3m", "--metadata-ttl", "1s"))
	}
	p, q := serve(topic), serve(control)
	client := &http.Client{Timeout: 2 * patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var wg sync.WaitGroup
	post := func(p *proc.Process, event string) time.Duration {
		began := time.Now()
		res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(event))
		if err != nil {
			t.Error(err)
			return 0
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("an event is answered %d", res.StatusCode)
		}
		return time.Since(began)
	}
	healthy, controlled, waits := keyOf(leaders, true), keyOf(other, true), keyOf(leaders, false)
	post(p, healthy)
	post(q, controlled)
	must(t, kafka.Freeze(victim))
	t.Cleanup(func() { _ = kafka.Thaw(victim) })
	var with, without time.Duration
	n := 0
	for began := time.Now(); time.Since(began) < lasts; n++ {
		if n%50 == 0 && n < 1000 { // 20 clients of the frozen broker at most
			wg.Go(func() { post(p, waits) })
		}
		with += post(p, healthy)
		without += post(q, controlled)
	}
	must(t, kafka.Thaw(victim))
	wg.Wait()
	t.Logf("%d events each: a client of a healthy partition waited for %v, one of the control for %v", n, with, without)
	if with > 4*without {
		t.Errorf("a client of a healthy partition waited for %v, one of the control for %v", with, without)
	}
	_, books := stop(t, p)
	_, _ = stop(t, q)
	if in, err := kafka.Count(topic); err != nil || books.Delivered != in-books.PossibleDuplicates || books.DroppedTotal()+books.DeadLettered != 0 {
		t.Errorf("%d events in the topic, %v; ledger %+v", in, err, books)
	}
}

func createUnreplicated(t *testing.T, kafka *kafkatest.Cluster, topic string, partitions int32) {
	t.Helper()
	withAdmin(t, kafka.Bootstrap(), func(ctx context.Context, a *kadm.Client) error {
		_, err := a.CreateTopic(ctx, partitions, 1, nil, topic)
		return err
	})
}

// allGone: no broker answers, for longer than a partition may fail while others move; the buffers are full. Then they
// come back one by one. Nothing is given up.
func allGone(t *testing.T, kafka *kafkatest.Cluster, bin string) {
	const topic = "all-gone"
	createUnreplicated(t, kafka, topic, stuckPartitions)
	createUnreplicated(t, kafka, topic+".dlq", 1)
	leaders := leadersOf(t, kafka, topic)
	leadersOf(t, kafka, topic+".dlq")
	p := start(t, proc.Serve(bin, kafka.Bootstrap(), topic, "--ack", "accept", "--codec", "none", "--buffer-bytes", "4MiB", "--memory-limit", "48MiB"))
	load := (&stuckCase{}).post(t, p, leaders, leaders[0])
	p.WaitLedger(t, patience, "the first events", func(g *proc.Ledger) bool { return g.Delivered > 1000 })
	for i := range kafka.Brokers() {
		must(t, kafka.Kill(i))
	}
	p.WaitLedger(t, patience, "full buffers", func(g *proc.Ledger) bool { return g.RefusedTotal() > 0 })
	for began := time.Now(); time.Since(began) < 15*time.Second; { // more than stuckAfter
		time.Sleep(50 * time.Millisecond)
	}
	var wg sync.WaitGroup
	errs := make([]error, kafka.Brokers())
	for i := range errs {
		wg.Go(func() { errs[i] = kafka.Restart(i) })
	}
	wg.Wait()
	for _, err := range errs {
		must(t, err)
	}
	load.stop()
	p.WaitLedger(t, patience, "everything settled", func(g *proc.Ledger) bool { return g.InFlight == 0 })
	_, books := stop(t, p)
	n, err := kafka.Count(topic)
	must(t, err)
	t.Logf("%d bodies posted, answers %v, delivered %d", load.sent.Load(), load.answers(), books.Delivered)
	if books.DeadLettered+books.DroppedTotal() != 0 || books.Delivered != books.Admitted || n < books.Delivered || n > books.Delivered+books.PossibleDuplicates {
		t.Errorf("%d events in the topic; ledger %+v", n, books)
	}
}
