package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// fill puts events on disk while Kafka is away, and returns how many were taken.
func fill(t *testing.T, s *Sink) (taken int64) {
	t.Helper()
	for s.Stats().Spooled < 2000 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		n, err := s.Append(ctx, []sink.Record{{Key: fmt.Append(nil, taken%7), Value: make([]byte, 100), Timestamp: 1}}, nil)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		taken += int64(n)
	}
	return taken
}

// TestOldFramesExpireWhileKafkaIsAway: what is on disk for longer than SpoolMaxAge is dropped without a broker, counted, and
// told of in the dead-letter topic; what comes later is delivered.
func TestOldFramesExpireWhileKafkaIsAway(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk} {
		t.Run(fmt.Sprint(settle), func(t *testing.T) {
			const age = 500 * time.Millisecond
			c := cluster(t, 2)
			s, n := spooling(t, c, t.TempDir(), func(cfg *Config, _ *Deps) { cfg.SpoolMaxAge, cfg.Settle = age, settle })
			waitFor(t, func() bool { return s.Ready() == nil })
			var creates atomic.Bool // the dead-letter topic comes when the report of losses is older than that
			c.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				if !creates.Load() {
					return nil, errors.New("not yet"), true
				}
				return nil, nil, false
			})
			n.cut()
			taken := fill(t, s)
			waitFor(t, func() bool { return s.Stats().Spooled == 0 })
			expired := s.Stats().Dropped[DroppedExpired]
			if expired < 2000 || expired > taken {
				t.Errorf("%d expired of %d", expired, taken)
			}
			n.mend()
			waitFor(t, func() bool { // the loss is told when events are acknowledged again
				k, err := s.Append(patient(t), []sink.Record{{Value: []byte("{}"), Timestamp: 1}}, nil)
				taken += int64(k)
				s.mu.Lock()
				defer s.mu.Unlock()
				return err == nil && s.losses.expired.Events == 0
			})
			reported := time.Now()
			waitFor(t, func() bool { return time.Since(reported) > 2*age })
			creates.Store(true)
			length := func() (n int64) {
				for _, p := range c.PartitionInfos("t.dlq") {
					n += p.HighWatermark
				}
				return n
			}
			waitFor(t, func() bool { return length() > 0 })
			balance(t, closeSink(t, s), taken)
			reportedEvents := int64(0) // in more than one report, if the machine is so slow that more has expired since
			for _, r := range consume(t, c, "t.dlq", int(length())) {
				var told struct {
					Reason string
					Events int64
				}
				if err := json.Unmarshal(r.Value, &told); err != nil || told.Reason != DroppedExpired {
					t.Errorf("%s: %v", r.Value, err)
				}
				reportedEvents += told.Events
			}
			if dropped := s.Stats().Dropped[DroppedExpired]; reportedEvents < expired || reportedEvents > dropped {
				t.Errorf("%d events are reported, %d were dropped in the outage, %d in all", reportedEvents, expired, dropped)
			}
		})
	}
}

// Marks, which are no events, keep older events from being dropped neither before nor behind them; the final one of an earlier
// process is kept.
func TestOldFramesExpireAmongMarks(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} { // the partitions, to the earlier process
		t.Run(fmt.Sprint("known ", known), func(t *testing.T) {
			t.Parallel()
			c, dir := cluster(t, 2), t.TempDir()
			process := func(age time.Duration, edit func(*Config)) (*Sink, *line) {
				n := &line{}
				s, _ := spooling(t, c, dir, func(cfg *Config, d *Deps) {
					cfg.SpoolMaxAge, d.Dial = age, n.dial
					cfg.Headers, cfg.MarkInterval, cfg.Keyless, cfg.Instance = HeadersStandard, 5*time.Millisecond, KeylessInstance, "i"
					n.down.Store(!known)
					edit(cfg)
				})
				return s, n
			}
			s, n := process(0, func(*Config) {})
			if known {
				reach(t, s)
			}
			n.cut()
			taken := fill(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_ = s.Close(ctx)
			left := s.Stats().Spooled
			if left == 0 || left > taken {
				t.Fatalf("%d of %d are left", left, taken)
			}

			s, n = process(time.Millisecond, func(cfg *Config) { cfg.Headers = HeadersNone })
			n.cut()
			waitFor(t, func() bool { st := s.Stats(); return st.Recovered == left && st.Spooled+st.InFlight == 0 })
			if d := s.Stats().Dropped[DroppedExpired]; d != left {
				t.Errorf("%d of %d have expired", d, left)
			}
			n.mend()
			reach(t, s)
			balance(t, closeSink(t, s), 0)
			finals := 0
			length := 0
			for _, p := range c.PartitionInfos("t") {
				length += int(p.HighWatermark)
			}
			for _, r := range consume(t, c, "t", length) {
				if strings.Contains(string(r.Value), `"final":true`) {
					finals++
				}
			}
			if finals != 1 {
				t.Errorf("%d final marks among %d records", finals, length)
			}
		})
	}
}

// reach waits until the sink has reached Kafka; Ready does not tell that where there is room on disk.
func reach(t *testing.T, s *Sink) {
	t.Helper()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.cluster.view.reached })
}

// TestOldFramesOfAnEarlierProcess: they are dropped whether Kafka is there or is never reached; younger ones are
// delivered.
func TestOldFramesOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		age  time.Duration
		away bool
	}{{"old", time.Millisecond, false}, {"old, Kafka away", time.Millisecond, true}, {"young", time.Hour, false}} {
		for _, reached := range []bool{true, false} { // by the earlier process; else its frames have no partition
			t.Run(fmt.Sprint(tt.name, " ", reached), func(t *testing.T) {
				c, dir := cluster(t, 2), t.TempDir()
				first, n := spooling(t, c, dir, nil)
				if reached {
					reach(t, first)
				}
				n.cut()
				fill(t, first)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_ = first.Close(ctx) // all goes to disk
				left := first.Stats().Spooled

				second, n := spooling(t, c, dir, func(cfg *Config, d *Deps) {
					cfg.SpoolMaxAge = tt.age
				})
				if tt.away {
					n.cut()
				}
				waitFor(t, func() bool { st := second.Stats(); return st.Recovered == left && st.Spooled+st.InFlight == 0 })
				n.mend()
				reach(t, second) // else Close does not wait for Kafka
				st := closeSink(t, second)
				balance(t, st, 0)
				want := map[bool]int64{true: left}[tt.age < time.Hour]
				if st.Dropped[DroppedExpired] != want || st.Delivered != left-want {
					t.Errorf("left %d, %+v", left, st)
				}
			})
		}
	}
}

// What is dropped for its age, in an outage and in the stop that ends it, is in reports, all of it.
func TestWhatExpiresDuringTheStopIsReported(t *testing.T) {
	t.Parallel()
	c, dir := cluster(t, 2, kfake.SeedTopics(1, "t.dlq")), t.TempDir()
	s, n := spooling(t, c, dir, func(cfg *Config, _ *Deps) { cfg.SpoolMaxAge, cfg.StowTime = time.Second, 300*time.Millisecond })
	waitFor(t, func() bool { return s.Ready() == nil })
	n.cut()
	taken := fill(t, s)
	waitFor(t, func() bool { return s.Stats().Dropped[DroppedExpired] > 0 })
	taken += fill(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // they expire meanwhile
	defer cancel()
	_ = s.Close(ctx)
	st := s.Stats()
	balance(t, st, taken)
	dropped := st.Dropped[DroppedExpired]
	next, _ := spooling(t, c, dir, nil)
	closeSink(t, next)
	reported := int64(0)
	for _, r := range consume(t, c, "t.dlq", int(c.PartitionInfos("t.dlq")[0].HighWatermark)) {
		var told struct{ Events int64 }
		if err := json.Unmarshal(r.Value, &told); err != nil {
			t.Errorf("%s: %v", r.Value, err)
		}
		reported += told.Events
	}
	if reported != dropped {
		t.Errorf("%d events were dropped for their age, %d are in reports", dropped, reported)
	}
}

// A frame that is carried is in memory: it does not expire on disk as well.
func TestACarriedFrameDoesNotExpire(t *testing.T) {
	s, l, sp := benchOnDisk(t)
	s.ctx, s.cfg.SpoolMaxAge, s.cfg.OversizeBytes, s.cfg.BatchBytes = t.Context(), time.Minute, 64<<20, 1<<20
	q := sp.Queue("t", 3)
	b := holds(t, l, 2)
	l.queue = nil
	b.rb.SealUnstamped()
	frame := []diskqueue.Write{{Queue: q, Meta: diskqueue.Meta{Events: 2, Records: 2, WrittenAt: time.Now().Add(-time.Hour).UnixMilli()}, Batch: b.rb.Parts(nil)}}
	if _, err := sp.Append(frame); err != nil {
		t.Fatal(err)
	}
	s.count.recovered, s.count.spooled = 2, 2
	if err := s.spooler.placer.carry(l.topic, q, nil); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	l.broker = nil // its partition cannot move
	if s.carries() {
		t.Error("carries: applyLocked would not hold")
	}
	s.disk.holding, s.disk.carried = true, nil // kafkaCluster.applyLocked: another topic is known
	s.mu.Unlock()
	s.spooler.expirer.expire()
	if s.count.spooled != 0 || len(s.count.dropped) != 0 || s.count.inFlight != 2 {
		t.Errorf("after %+v, %d batches in the lane", s.count, len(l.queue))
	}
}
