package kafka

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// switchSpool fails or is full when a test says so, and counts the attempts.
type switchSpool struct {
	diskqueue.Spool
	with  atomic.Pointer[error]
	tries atomic.Int64
	// queue is told of every queue that the sink asks for.
	queue func(topic string, partition int32)
}

func (b *switchSpool) Append(f []diskqueue.Write) (int, error) {
	b.tries.Add(1)
	if err := b.with.Load(); err != nil {
		return 0, *err
	}
	return b.Spool.Append(f)
}

func (b *switchSpool) Queue(topic string, partition int32) diskqueue.Queue {
	if b.queue != nil {
		b.queue(topic, partition)
	}
	return b.Spool.Queue(topic, partition)
}

func (b *switchSpool) fail(err error) {
	if err == nil {
		b.with.Store(nil)
		return
	}
	b.with.Store(&err)
}

// switched gives a sink a switchSpool.
func switched(b *switchSpool) func(*Config, *Deps) {
	return func(_ *Config, d *Deps) {
		open := d.OpenSpool
		d.OpenSpool = func() (diskqueue.Spool, error) {
			sp, err := open()
			b.Spool = sp
			return b, err
		}
	}
}

// TestSecondOutageUsesTheSpool: the disk was full or failed in one outage. In the next one it is used again, whatever
// the policy, and nothing is dropped or kept out.
func TestSecondOutageUsesTheSpool(t *testing.T) {
	t.Parallel()
	for _, with := range []error{fmt.Errorf("%w: test", diskqueue.ErrFull), errDisk} {
		for _, policy := range []SpoolFull{SpoolFullBlock, SpoolFullDropOldest, SpoolFullDropNewest} {
			for _, settle := range []Settle{SettleAtOnce, SettleOnKafka, SettleOnDisk} {
				t.Run(fmt.Sprint(with, " ", policy, " ", settle), func(t *testing.T) {
					t.Parallel()
					b := &switchSpool{}
					s, n := spooling(t, cluster(t, 4), t.TempDir(), func(cfg *Config, d *Deps) {
						cfg.SpoolFull, cfg.Settle = policy, settle
						switched(b)(cfg, d)
					})
					appendAll(t, s, 100, 37, nil)
					waitFor(t, func() bool { return s.Stats().Delivered == 100 })
					n.cut()
					b.fail(with)
					// More than fits into memory, until the disk has been tried.
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan int)
					go func() {
						taken := 0
						for ctx.Err() == nil && taken < 5000 {
							k, _ := s.Append(ctx, []sink.Record{{Key: []byte("k"), Value: make([]byte, 100), Timestamp: 1}}, nil)
							taken += k
						}
						done <- taken
					}()
					waitFor(t, func() bool { return b.tries.Load() > 0 })
					waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.disk.err != nil })
					cancel()
					taken := <-done
					n.mend()
					waitFor(t, func() bool { return s.Stats().InFlight == 0 && s.Stats().Spooled == 0 })
					b.fail(nil)
					waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !time.Now().Before(s.spooler.writer.retryAt) })
					// A round that finds nothing to write says nothing new of the disk.
					s.spooler.spiller.press()
					waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.spooler.spiller.pressed })
					first := s.Stats().Dropped[DroppedSpoolFull]
					frames := s.Metrics().SpilledFrames
					n.cut()
					appendAll(t, s, 5000, 37, nil)
					waitFor(t, func() bool { return s.Metrics().SpilledFrames > frames })
					if more := s.Stats().Dropped[DroppedSpoolFull] - first; more != 0 {
						t.Errorf("%d events are dropped beside a good disk", more)
					}
					n.mend()
					waitFor(t, func() bool { return s.Stats().InFlight == 0 && s.Stats().Spooled == 0 })
					balance(t, closeSink(t, s), int64(100+taken+5000))
				})
			}
		}
	}
}

// TestNoRoundsWithoutNeed: a disk that failed and an appender that waits for room for a large record do not make the
// spooler run round and round.
func TestNoRoundsWithoutNeed(t *testing.T) {
	t.Parallel()
	b := &switchSpool{}
	s, n := spooling(t, cluster(t, 1), t.TempDir(), func(cfg *Config, d *Deps) {
		cfg.OversizeBytes = 64 << 10
		switched(b)(cfg, d)
	})
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.disk.sp != nil && !s.disk.holding })
	n.cut()
	b.fail(errDisk)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 4 {
			_, _ = s.Append(ctx, []sink.Record{{Value: make([]byte, 40<<10), Timestamp: 1}}, nil)
		}
	}()
	waitFor(t, func() bool { return b.tries.Load() >= 2 })
	count := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.spooler.committer.rounds }
	rounds := count()
	tries := b.tries.Load()
	waitFor(t, func() bool { return b.tries.Load() >= tries+2 }) // two seconds by the program's own clock
	if n := count() - rounds; n > 2000 {
		t.Errorf("%d rounds between two attempts", n)
	}
	cancel()
	<-done
}

// TestLargeEventsGoToDisk: records that are larger than a batch go to disk as others do, and keep nobody out.
func TestLargeEventsGoToDisk(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleAtOnce, SettleOnKafka, SettleOnDisk} {
		t.Run(fmt.Sprint(settle), func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 4)
			s, n := spooling(t, c, t.TempDir(), func(cfg *Config, _ *Deps) {
				cfg.Settle, cfg.OversizeBytes = settle, 128<<10
			})
			appendAll(t, s, 100, 37, nil)
			waitFor(t, func() bool { return s.Stats().Delivered == 100 })
			n.cut()
			ctx := patient(t)
			const large = 40
			for i := range large {
				r := sink.Record{Key: []byte("large"), Value: []byte(strings.Repeat("x", 3*recordbatch.ChunkSize)), Timestamp: int64(i + 1)}
				if k, err := s.Append(ctx, []sink.Record{r}, nil); k != 1 {
					t.Fatalf("event %d: %v; %+v %s", i, err, s.Stats(), dump(s))
				}
				appendAll(t, s, 1, 37, nil)
			}
			if st := s.Stats(); st.Spooled < large-8 {
				t.Errorf("only %d of %d on disk", st.Spooled, 2*large)
			}
			_ = s.Close(ended())
			if st := s.Stats(); st.Spooled != 2*large || len(st.Dropped) != 0 {
				t.Errorf("at the end: %+v", st)
			}
		})
	}
}

// TestGrowthWaitsForFramesOnDisk: new partitions are used only when nothing accepted before is left on disk, and until
// then nobody is kept out.
func TestGrowthWaitsForFramesOnDisk(t *testing.T) {
	t.Parallel()
	c := cluster(t, 2)
	b := &switchSpool{}
	var early atomic.Int64
	var grown atomic.Bool
	b.queue = func(topic string, partition int32) {
		if topic != "t" || partition < 2 {
			return
		}
		grown.Store(true)
		for _, q := range b.Queues() {
			if q.Topic() == "t" && q.Partition() < 2 {
				early.Add(1)
			}
		}
	}
	s, n := spooling(t, c, t.TempDir(), switched(b))
	appendAll(t, s, 100, 37, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 100 })
	n.cut()
	want := appendAll(t, s, 20000, 37, nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreatePartitions(patient(t), 3, "t"); err != nil {
		t.Fatal(err)
	}
	n.mend()
	total := 20000
	for !grown.Load() && total < 400000 {
		waitFor(t, func() bool { return s.Stats().Spooled == 0 }) // while frames are on disk it does not grow
		for k, v := range appendAll(t, s, 200, 37, nil) {
			want[k] = append(want[k], v...)
		}
		total += 200
		waitFor(t, func() bool { return s.Stats().Delivered == int64(100+total) }) // the cluster is asked once a second
	}
	waitFor(t, func() bool { return s.Stats().Delivered == int64(100+total) })
	if !grown.Load() || early.Load() != 0 {
		t.Errorf("grown %v, with frames in %d older queues", grown.Load(), early.Load())
	}
}

// TestManyPartitionsFillTheSpoolAsFast: with as many partitions as buffers each lane's first event needs one, so room is
// made for each few events. While Kafka is away nobody waits for it before that.
func TestManyPartitionsFillTheSpoolAsFast(t *testing.T) {
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk} {
		took := map[int32]time.Duration{}
		for _, partitions := range []int32{1, 8, 32} {
			c := cluster(t, partitions)
			s, n := spooling(t, c, t.TempDir(), func(cfg *Config, _ *Deps) { cfg.Settle = settle })
			appendAll(t, s, 100, 37, nil)
			waitFor(t, func() bool { return s.Stats().Delivered == 100 })
			n.cut()
			start := time.Now()
			appendAll(t, s, 5000, 37, nil)
			took[partitions] = max(time.Since(start), 50*time.Millisecond)
			if took[partitions] > 60*took[1] {
				t.Errorf("settle %v: 5,000 events took %v with %d partitions, %v with one", settle, took[partitions], partitions, took[1])
			}
			n.mend()
			waitFor(t, func() bool { return s.Stats().Delivered == 5100 })
			balance(t, closeSink(t, s), 5100)
		}
		t.Log(settle, took)
	}
}
