package kafka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// TestKilledAgainAndAgain kills the sink at any moment, with outages between, and lets the next one go on with
// the disk as it is then. What was acknowledged is in the topic, nothing is there twice, and each key is in
// order; with SettleOnDisk across kills as well.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleOnKafka, SettleOnDisk, SettleAtOnce} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(settle, " ", seed), func(t *testing.T) {
				t.Parallel()
				(&killings{
					T: t, settle: settle, slow: seed%2 == 1, rng: rand.New(rand.NewPCG(seed, 7)), c: cluster(t, 3, kfake.NumBrokers(2)),
					disk: newTestDisk(t), next: map[string]int{},
				}).run()
			})
		}
	}
}

type killings struct {
	*testing.T
	settle Settle
	rng    *rand.Rand
	c      *kfake.Cluster
	disk   *testDisk
	slow   bool           // to confirm
	next   map[string]int // sequence by key
	acked  []string

	recovered, replayed int64
}

// oneAck is one event's ack. Only what is told before the kill is an obligation.
type oneAck struct {
	value  string
	killed *atomic.Bool
	mu     *sync.Mutex
	acked  *[]string
}

func (a *oneAck) Hold() {}
func (a *oneAck) Settle(lost int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if lost == 0 && !a.killed.Load() {
		*a.acked = append(*a.acked, a.value)
	}
}

func (k *killings) run() {
	const lives = 8
	var possible int64
	for life := range lives {
		last := life == lives-1
		n := &line{}
		s := start(k.T, k.c, func(cfg *Config, d *Deps) {
			cfg.BatchBytes, cfg.BufferBytes = recordbatch.ChunkSize, 4*recordbatch.ChunkSize
			cfg.Settle, cfg.Codec = k.settle, []recordbatch.Codec{recordbatch.None, recordbatch.Snappy}[k.rng.IntN(2)]
			cfg.RequestTimeout, cfg.MetadataTTL = 250*time.Millisecond, 100*time.Millisecond
			d.Dial, d.OpenSpool, d.Logger = n.dial, k.disk.Open, nil
			d.fastSync = speed(k.slow)
		})
		var killed atomic.Bool
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(context.Background())
		var appender sync.WaitGroup
		rng := rand.New(rand.NewPCG(k.rng.Uint64(), 1))
		appender.Go(func() {
			for range 15_000 {
				key := fmt.Sprint("key-", rng.IntN(20))
				v := fmt.Sprintf("%s %d %d %0*d", key, k.next[key], life, rng.IntN(200), 0)
				k.next[key]++
				r := sink.Record{Key: []byte(key), Value: []byte(v), Timestamp: 1}
				if _, err := s.Append(ctx, []sink.Record{r}, &oneAck{v, &killed, &mu, &k.acked}); err != nil {
					return
				}
				if rng.IntN(100) == 0 {
					s.Flush()
				}
			}
		})
		for range k.rng.IntN(3) {
			k.linger()
			n.cut()
			k.linger()
			n.mend()
		}
		if last {
			appender.Wait()
			cancel()
			waitFor(k.T, func() bool { return !s.held() })
			st := closeSink(k.T, s)
			if st.Spooled != 0 {
				k.Errorf("%d events left on disk", st.Spooled)
			}
			possible += st.PossibleDuplicates
			k.replayed += s.Metrics().ReplayedFrames
			break
		}
		k.linger()
		n.cut()
		if k.rng.IntN(2) == 0 {
			k.linger()
		}
		killed.Store(true)
		k.disk = k.disk.Kill()
		cancel()
		appender.Wait()
		_ = s.Close(ended()) // in its own world
		st := s.Stats()
		possible += st.PossibleDuplicates
		k.recovered += st.Recovered
		k.replayed += s.Metrics().ReplayedFrames
	}
	k.judge(possible)
}

// held reports whether the sink is still reading its spool.
func (s *Sink) held() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk.holding
}

// linger lets things happen for a moment; nothing depends on what happens in it.
func (k *killings) linger() {
	ctx, cancel := context.WithTimeout(k.Context(), time.Duration(k.rng.IntN(40_000))*time.Microsecond)
	defer cancel()
	<-ctx.Done()
}

func (k *killings) judge(possible int64) {
	total := 0
	for _, p := range k.c.PartitionInfos("t") {
		total += int(p.HighWatermark)
	}
	seen := map[string]bool{}
	type place struct{ n, life int }
	last := map[string]place{}
	doubled := int64(0)
	for _, r := range consume(k.T, k.c, "t", total) {
		var key string
		var at place
		if _, err := fmt.Sscan(string(r.Value), &key, &at.n, &at.life); err != nil {
			k.Fatal(err)
		}
		if seen[string(r.Value)] {
			doubled++
			continue
		}
		seen[string(r.Value)] = true
		// What was on the wire when the sink was killed, and is not on disk, may reach the log after what the next
		// life sends.
		if before, ok := last[key]; ok && at.n <= before.n && (k.settle == SettleOnDisk || at.life == before.life) {
			k.Errorf("%s: %v comes after %v", key, at, before)
		}
		last[key] = at
	}
	for _, v := range k.acked {
		if !seen[v] {
			k.Errorf("acknowledged and lost: %.30s", v)
		}
	}
	if doubled > possible {
		k.Errorf("%d events are there twice, %d were counted", doubled, possible)
	}
	if k.settle == SettleOnDisk && k.recovered == 0 {
		k.Error("no life found anything that the one before had left")
	}
	k.Logf("%d events in the topic, %d acknowledged, %d recovered, %d frames replayed, %d doubled, %d counted as possible", len(seen), len(k.acked), k.recovered, k.replayed, doubled, possible)
}
