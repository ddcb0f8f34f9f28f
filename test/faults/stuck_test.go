package faults

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// TestOneOfThreeBrokersGone: a topic without replicas loses a third of its partitions, under one open loop for those and
// one for the others. The others keep their rate.
func TestOneOfThreeBrokersGone(t *testing.T) {
	cases := []stuckCase{
		{name: "accept", args: []string{"--ack", "accept"}, deadGone: true, short: true},
		{name: "spool", args: []string{"--ack", "disk", "--spool-max", "10MiB"}, spool: true, short: true},
		{name: "keyless", args: []string{"--ack", "accept"}, keyless: true},
		{name: "kafka", args: []string{"--ack", "kafka"}},
		{name: "spool, dead letters gone", args: []string{"--ack", "accept", "--spool-max", "10MiB"}, spool: true, deadGone: true},
	}
	kafka := kafkatest.Start(t, kafkatest.WithBrokers(3))
	bin := proc.Build(t)
	t.Run("told", func(t *testing.T) { leaderAwayIsTold(t, kafka, bin) })
	for _, c := range cases {
		if c.short || *all {
			t.Run(c.name, func(t *testing.T) { c.try(t, kafka, bin) })
		}
	}
	t.Run("the only address given", func(t *testing.T) { onlyAddressGone(t, kafka, bin) })
	t.Run("frozen", func(t *testing.T) { oneFrozen(t, kafka, bin) })
	t.Run("all of them", func(t *testing.T) { allGone(t, kafka, bin) })
}

type stuckCase struct {
	name     string
	args     []string
	spool    bool
	keyless  bool
	deadGone bool // the broker that goes leads the dead-letter topic as well
	short    bool
}

const stuckPartitions = 6

func (c *stuckCase) try(t *testing.T, kafka *kafkatest.Cluster, bin string) {
	topic := topicName("stuck", c.name)
	withAdmin(t, kafka.Bootstrap(), func(ctx context.Context, a *kadm.Client) error {
		if _, err := a.CreateTopic(ctx, stuckPartitions, 1, nil, topic); err != nil {
			return err
		}
		_, err := a.CreateTopic(ctx, 1, 1, nil, topic+".dlq")
		return err
	})
	leaders, dead := leadersOf(t, kafka, topic), leadersOf(t, kafka, topic+".dlq")
	victim := dead[0]
	if !c.deadGone {
		victim = (victim + 1) % 3
	}
	if len(leaders) != stuckPartitions || !slices.Contains(leaders, victim) {
		t.Fatalf("leaders %v, and broker %d is to go", leaders, victim)
	}
	args := append([]string{"--buffer-bytes", "4MiB", "--codec", "none", "--memory-limit", "48MiB"}, c.args...)
	if c.spool {
		args = append(args, "--spool-dir", filepath.Join(t.TempDir(), "spool"))
	}
	p := start(t, proc.Serve(bin, kafka.Bootstrap(), topic, args...))
	load := c.post(t, p, leaders, victim)
	healthy := func() (n int64) { return healthyRecords(t, kafka, topic, leaders, victim) }
	rate := func(d time.Duration) float64 {
		n, sent, start := healthy(), load.sent.Load(), time.Now()
		for time.Since(start) < d {
			time.Sleep(50 * time.Millisecond)
		}
		return float64(healthy()-n) / float64((load.sent.Load()-sent)*perStuckBody)
	}
	waitFor(t, "the first events", func() bool { return healthy() > 1000 })
	control := rate(5 * time.Second)
	must(t, kafka.Kill(victim))
	lasts := 20 * time.Second // twice as long as until a partition counts as stuck
	if *all {
		lasts = time.Minute
	}
	during := rate(lasts)
	must(t, kafka.Restart(victim))
	load.stop()
	p.WaitLedger(t, patience, "everything settled", func(g *proc.Ledger) bool { return g.InFlight == 0 && g.Spooled == 0 })
	_, books := stop(t, p)
	t.Logf("healthy partitions got %.3f of what was posted before, %.3f during the outage of %v; %d bodies; answers %v; delivered %d, dead-lettered %d, dropped %v",
		control, during, lasts, load.sent.Load(), load.answers(), books.Delivered, books.DeadLettered, books.Dropped)
	if during < 0.9*min(control, 1) { // before it, a backlog of the start may be delivered beside what is posted
		t.Errorf("healthy partitions got %.3f of what was posted, and %.3f before the outage", during, control)
	}
	main, err := kafka.Count(topic)
	must(t, err)
	deadLetters, err := kafka.Count(topic + ".dlq")
	must(t, err)
	if main < books.Delivered || main > books.Delivered+books.PossibleDuplicates || deadLetters < books.DeadLettered {
		t.Errorf("%d records and %d dead letters in the topics, by the ledger %d and %d", main, deadLetters, books.Delivered, books.DeadLettered)
	}
	if c.keyless && books.DeadLettered != 0 {
		t.Errorf("%d events without a key became dead letters", books.DeadLettered)
	}
}

// leadersOf waits until all brokers know a topic.
func leadersOf(t *testing.T, kafka *kafkatest.Cluster, topic string) (leaders []int) {
	t.Helper()
	waitFor(t, "leaders of "+topic, func() bool {
		var err error
		leaders, err = kafka.Leaders(topic)
		return err == nil && len(leaders) > 0 && !slices.Contains(leaders, -1)
	})
	return leaders
}

// healthyRecords counts what is in the partitions that the victim does not lead.
func healthyRecords(t *testing.T, kafka *kafkatest.Cluster, topic string, leaders []int, victim int) (n int64) {
	t.Helper()
	withAdmin(t, kafka.Bootstrap(), func(ctx context.Context, a *kadm.Client) error {
		n = 0
		offsets, err := a.ListEndOffsets(ctx, topic)
		if len(offsets) == 0 && err != nil {
			return err
		}
		for part, leader := range leaders {
			if o, ok := offsets.Lookup(topic, int32(part)); leader != victim && ok && o.Err == nil {
				n += o.Offset
			}
		}
		return nil
	})
	return n
}

const perStuckBody = 6 // events

// stuckLoad is two open loops, each of 100 bodies a second: one with events of healthy partitions, one with events of
// those that the victim leads, or with events without a key.
type stuckLoad struct {
	sent atomic.Int64 // bodies for healthy partitions
	stop func()

	mu    sync.Mutex
	codes map[int]int
}

func (l *stuckLoad) answers() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.codes
}

func (c *stuckCase) post(t *testing.T, p *proc.Process, leaders []int, victim int) *stuckLoad {
	body := func(healthy bool) string {
		var events []string
		for i := 0; len(events) < perStuckBody; i++ {
			key := fmt.Sprint("key-", i)
			if at := recordbatch.Partition([]byte(key), stuckPartitions); (leaders[at] != victim) == healthy {
				event := fmt.Sprintf(`{"traceId":%q,"logs":%q}`, key, strings.Repeat("x", 600))
				if c.keyless && !healthy {
					event = fmt.Sprintf(`{"logs":%q}`, strings.Repeat("x", 600))
				}
				events = append(events, event)
			}
		}
		return "[" + strings.Join(events, ",") + "]"
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &stuckLoad{codes: map[int]int{}}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}, Timeout: patience}
	var wg sync.WaitGroup
	var other atomic.Int64
	wg.Go(func() { l.loop(ctx, client, p, body(true), &l.sent) })
	wg.Go(func() { l.loop(ctx, client, p, body(false), &other) })
	var once sync.Once
	l.stop = func() { once.Do(func() { cancel(); wg.Wait(); client.CloseIdleConnections() }) }
	t.Cleanup(l.stop)
	return l
}

// loop posts a body 100 times a second. What would be the 257th at the same time counts as sent.
func (l *stuckLoad) loop(ctx context.Context, client *http.Client, p *proc.Process, body string, sent *atomic.Int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	open := make(chan struct{}, 256)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sent.Add(1)
		select {
		case open <- struct{}{}:
		default:
			continue
		}
		wg.Go(func() {
			defer func() { <-open }()
			code := 0
			res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(body))
			if err == nil {
				code = res.StatusCode
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			l.mu.Lock()
			l.codes[code]++
			l.mu.Unlock()
		})
	}
}
