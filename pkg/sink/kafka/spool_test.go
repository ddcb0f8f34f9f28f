package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// line is the network between a sink and its brokers: it can be cut and mended.
type line struct {
	down  atomic.Bool
	conns atomic.Pointer[[]net.Conn]
}

func (n *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if n.down.Load() {
		return nil, errors.New("no network")
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	for {
		old := n.conns.Load()
		var list []net.Conn
		if old != nil {
			list = append(list, *old...)
		}
		list = append(list, c)
		if n.conns.CompareAndSwap(old, &list) {
			break
		}
	}
	if n.down.Load() {
		c.Close()
	}
	return c, nil
}

func (n *line) cut() {
	n.down.Store(true)
	if list := n.conns.Swap(nil); list != nil {
		for _, c := range *list {
			c.Close()
		}
	}
}

func (n *line) mend() { n.down.Store(false) }

// spooling starts a sink with a spool in dir and buffers of 128 KiB behind a line of its own.
func spooling(t *testing.T, c *kfake.Cluster, dir string, edit func(*Config, *Deps)) (*Sink, *line) {
	n := &line{}
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.BatchBytes, cfg.BufferBytes = recordbatch.ChunkSize, 8*recordbatch.ChunkSize
		cfg.Settle = SettleAtOnce
		cfg.MetadataTTL = 200 * time.Millisecond
		d.Dial = n.dial
		d.OpenSpool = openTestSpool(t, dir, 64<<20)
		if edit != nil {
			edit(cfg, d)
		}
	})
	return s, n
}

func balance(t *testing.T, st sink.Stats, taken int64) {
	t.Helper()
	sum := st.Delivered + st.DeadLettered + st.SetAside + st.Spooled + st.InFlight
	for _, n := range st.Dropped {
		sum += n
	}
	if sum != taken+st.Recovered {
		t.Errorf("%d taken and %d recovered, but the account is %+v", taken, st.Recovered, st)
	}
}

// What does not fit into memory while Kafka is away goes to disk, and from there, in order, to Kafka.
func TestOutageGoesToDiskAndComesBackInOrder(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk, SettleOnKafka} {
		t.Run(fmt.Sprint(settle), func(t *testing.T) {
			c := cluster(t, 4)
			s, n := spooling(t, c, t.TempDir(), func(cfg *Config, _ *Deps) { cfg.Settle = settle })
			var ack ackCount
			want := appendAll(t, s, 1000, 37, &ack)
			waitFor(t, func() bool { return s.Stats().Delivered == 1000 })
			n.cut()
			for k, v := range appendAll(t, s, 20000, 37, &ack) {
				want[k] = append(want[k], v...)
			}
			if settle == SettleOnDisk {
				waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.held == ack.done })
			}
			st := s.Stats()
			if st.Spooled < 10000 {
				t.Errorf("only %d of 20000 events on disk", st.Spooled)
			}
			n.mend()
			for k, v := range appendAll(t, s, 1000, 37, &ack) {
				want[k] = append(want[k], v...)
			}
			waitFor(t, func() bool { return s.Stats().Spooled == 0 })
			st = closeSink(t, s)
			balance(t, st, 22000)
			if st.Delivered != 22000 || st.PossibleDuplicates != 0 {
				t.Errorf("stats %+v", st)
			}
			ack.check(t, 0)
			checkKeyed(t, consume(t, c, "t", 22000), want)
		})
	}
}

// A sink that must end while Kafka is away leaves everything to the next one.
func TestTheNextProcessDeliversWhatIsLeft(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk, SettleOnKafka} {
		for _, before := range []int{0, 3000} {
			t.Run(fmt.Sprint(settle, " ", before), func(t *testing.T) {
				c := cluster(t, 4)
				dir := t.TempDir()
				s, n := spooling(t, c, dir, func(cfg *Config, _ *Deps) { cfg.Settle = settle })
				want := map[string][]string{}
				add := func(s *Sink, count int) {
					for k, v := range appendAll(t, s, count, 37, nil) {
						want[k] = append(want[k], v...)
					}
				}
				if before == 0 {
					n.cut() // it never hears of any partition
				}
				add(s, 3000)
				if before > 0 {
					n.cut()
					add(s, before)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
				defer cancel()
				if err := s.Close(ctx); err == nil {
					t.Error("close says that all was delivered")
				}
				st := s.Stats()
				balance(t, st, int64(3000+before))
				if st.InFlight != 0 || len(st.Dropped) != 0 {
					t.Fatalf("stats %+v", st)
				}
				s2, _ := spooling(t, c, dir, func(cfg *Config, _ *Deps) { cfg.Settle = settle })
				add(s2, 1000)
				st2 := closeSink(t, s2)
				balance(t, st2, 1000)
				if st2.Recovered != st.Spooled || st.Delivered+st2.Delivered != int64(4000+before) || st2.PossibleDuplicates != 0 {
					t.Errorf("first %+v, second %+v", st, st2)
				}
				checkKeyed(t, consume(t, c, "t", 4000+before), want)
			})
		}
	}
}

// fullDisk runs a sink whose spool is full while Kafka is away, and returns what was appended in the order of
// the appends, and the account after Kafka came back.
func fullDisk(t *testing.T, policy SpoolFull, count int) (c *kfake.Cluster, appended []string, st sink.Stats, ack *ackCount) {
	c = cluster(t, 1)
	ack = &ackCount{}
	s, n := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
		cfg.SpoolFull = policy
		d.OpenSpool = openTestSpool(t, t.TempDir(), 1<<20)
	})
	waitFor(t, func() bool { return s.Ready() == nil })
	n.cut()
	ctx := patient(t)
	for i := range count {
		r := record("k", i)
		r.Value = fmt.Appendf(nil, "%d %01000d", i, i)
		if took, err := s.Append(ctx, []sink.Record{r}, ack); err != nil || took != 1 {
			t.Fatalf("append %d: %d, %v", i, took, err)
		}
		appended = append(appended, string(r.Value))
	}
	n.mend()
	waitFor(t, func() bool { return s.Stats().Spooled == 0 })
	// The loss is reported when a second has passed without another, and Kafka takes something again.
	st = closeSink(t, s)
	balance(t, st, int64(count))
	return c, appended, st, ack
}

func TestFullDiskDropsByPolicy(t *testing.T) {
	t.Parallel()
	for _, policy := range []SpoolFull{SpoolFullDropOldest, SpoolFullDropNewest} {
		t.Run(policy.String(), func(t *testing.T) {
			const count = 3000 // three times what fits
			c, appended, st, ack := fullDisk(t, policy, count)
			lost := st.Dropped[DroppedSpoolFull]
			if lost < count/3 || len(st.Dropped) != 1 || st.Delivered != count-lost {
				t.Fatalf("stats %+v", st)
			}
			ack.check(t, int(lost))
			got := consume(t, c, "t", int(st.Delivered))
			at := 0
			for i, r := range got {
				for at < len(appended) && appended[at] != string(r.Value) {
					at++
				}
				if at == len(appended) {
					t.Fatalf("record %d is out of order or was never appended", i)
				}
			}
			newest, oldest := string(got[len(got)-1].Value) == appended[count-1], string(got[0].Value) == appended[0]
			if policy == SpoolFullDropOldest && !newest || policy == SpoolFullDropNewest && !oldest {
				t.Errorf("oldest kept: %v, newest kept: %v", oldest, newest)
			}
			report := consume(t, c, "t.dlq", 1)[0]
			var told struct {
				Reason, Policy             string
				Events, Bytes, First, Last int64
			}
			if err := json.Unmarshal(report.Value, &told); err != nil {
				t.Fatal(err)
			}
			if header(report, HeaderReason) != "loss" || told.Reason != DroppedSpoolFull || told.Policy != policy.String() ||
				told.Events != lost || told.Bytes == 0 || told.First == 0 || told.Last < told.First {
				t.Errorf("loss record %s", report.Value)
			}
		})
	}
}

// A spool that was full once is used again in the next outage.
func TestTheNextOutageFindsRoom(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	s, n := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
		cfg.SpoolFull = SpoolFullDropNewest
		d.OpenSpool = openTestSpool(t, t.TempDir(), 1<<20)
	})
	waitFor(t, func() bool { return s.Ready() == nil })
	at := 0
	outage := func(count int) {
		n.cut()
		for range count {
			r := record("k", at)
			r.Value = fmt.Appendf(nil, "%d %01000d", at, at)
			if _, err := s.Append(patient(t), []sink.Record{r}, nil); err != nil {
				t.Fatal(err)
			}
			at++
		}
		n.mend()
		waitFor(t, func() bool { st := s.Stats(); return st.Spooled == 0 && st.InFlight == 0 })
	}
	outage(3000)
	lost := s.Stats().Dropped[DroppedSpoolFull]
	if lost == 0 {
		t.Fatal("the spool was never full")
	}
	outage(500) // half of what fits
	st := closeSink(t, s)
	balance(t, st, 3500)
	if st.Dropped[DroppedSpoolFull] != lost {
		t.Errorf("%d more were dropped", st.Dropped[DroppedSpoolFull]-lost)
	}
}

// With policy block nothing is dropped: appends wait until Kafka is back.
func TestFullDiskBlocks(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	s, n := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) { d.OpenSpool = openTestSpool(t, t.TempDir(), 1<<20) })
	waitFor(t, func() bool { return s.Ready() == nil })
	n.cut()
	done := make(chan struct{})
	var want []string
	go func() {
		defer close(done)
		for i := range 3000 {
			r := record("k", i)
			r.Value = fmt.Appendf(nil, "%d %01000d", i, i)
			want = append(want, string(r.Value))
			if _, err := s.Append(patient(t), []sink.Record{r}, nil); err != nil {
				t.Errorf("append %d: %v", i, err)
				return
			}
		}
	}()
	waitFor(t, func() bool { return s.Metrics().SpoolState == SpoolIsFull })
	n.mend()
	<-done
	st := closeSink(t, s)
	balance(t, st, 3000)
	if st.Delivered != 3000 || len(st.Dropped) != 0 {
		t.Errorf("stats %+v", st)
	}
	checkKeyed(t, consume(t, c, "t", 3000), map[string][]string{"k": want})
}

// A disk that fails, and works again later, costs nothing but the promise that it keeps.
func TestDiskFailsForAWhile(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleOnDisk, SettleAtOnce} {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprint(settle, " slow ", slow), func(t *testing.T) {
				c := cluster(t, 2)
				disk := newTestDisk(t)
				s, n := spooling(t, c, "", func(cfg *Config, d *Deps) {
					cfg.Settle, d.OpenSpool, d.fastSync = settle, disk.Open, speed(slow)
				})
				waitFor(t, func() bool { return s.Ready() == nil })
				disk.Limit(0)
				var ack ackCount
				want := appendAll(t, s, 3000, 7, &ack) // by way of Kafka alone
				waitFor(t, func() bool { return s.Stats().Delivered == 3000 })
				ack.check(t, 0)
				disk.Limit(1 << 40)
				n.cut()
				for k, v := range appendAll(t, s, 5000, 7, &ack) {
					want[k] = append(want[k], v...)
				}
				n.mend()
				waitFor(t, func() bool { return s.Stats().Delivered == 8000 })
				st := closeSink(t, s)
				balance(t, st, 8000)
				if len(st.Dropped) != 0 || s.Metrics().ReplayedFrames == 0 {
					t.Errorf("stats %+v, %d frames replayed", st, s.Metrics().ReplayedFrames)
				}
				ack.check(t, 0)
				checkKeyed(t, consume(t, c, "t", 8000), want)
			})
		}
	}
}

// Frames of partitions that are no more are placed by their keys.
func TestFramesOfVanishedPartitionsArePlacedAnew(t *testing.T) {
	dir := t.TempDir()
	before := cluster(t, 8)
	s, n := spooling(t, before, dir, nil)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.topics[0].lanes) == 8 && s.disk.sp != nil })
	n.cut()
	want := appendAll(t, s, 3000, 37, nil)
	_ = s.Close(ended())
	if st := s.Stats(); st.Spooled != 3000 {
		t.Fatalf("stats %+v", st)
	}
	c := cluster(t, 3)
	s2, _ := spooling(t, c, dir, nil)
	waitFor(t, func() bool { return !s2.held() })
	st := closeSink(t, s2)
	if st.Recovered != 3000 || st.Delivered != 3000 || st.Spooled != 0 {
		t.Errorf("stats %+v", st)
	}
	recs := consume(t, c, "t", 3000)
	p := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	for _, r := range recs {
		at := p.Partition(&kgo.Record{Key: r.Key}, 8) // where it was, and still may be
		if at >= 3 {
			at = p.Partition(&kgo.Record{Key: r.Key}, 3)
		}
		if int(r.Partition) != at {
			t.Fatalf("key %s in partition %d, want %d", r.Key, r.Partition, at)
		}
	}
	checkKeyed(t, recs, want)
}
