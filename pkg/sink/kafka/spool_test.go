package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

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
		d.OpenSpool = OpenTestSpool(t, dir, 64<<20)
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
