package kafka

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// Each source hears how many of its own records were dropped, not how many of the batch.
func TestSettleTellsTheSourcesOwnLoss(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Linger = time.Hour
		c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return nil, errors.New("cut"), true
		})
	})
	waitFor(t, func() bool { return s.Ready() == nil })
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.topics[0].lanes) == 1 })
	var one, four ackCount
	ctx := patient(t)
	s.Append(ctx, []sink.Record{record("a", 0)}, &one)
	s.Append(ctx, []sink.Record{record("b", 0), record("b", 1), record("b", 2), record("b", 3)}, &four)
	s.Close(ended())
	one.check(t, 1)
	four.check(t, 4)
	if st := s.Stats(); st.Dropped[sink.DroppedShutdown] != 5 {
		t.Errorf("stats %+v", st)
	}
}

// Close may be called by several goroutines at the same time, with and without a spool.
func TestCloseAtTheSameTime(t *testing.T) {
	for _, spool := range []bool{false, true} {
		c := cluster(t, 2)
		disk := newTestDisk(t)
		s := start(t, c, func(cfg *Config, d *Deps) {
			if spool {
				d.OpenSpool = disk.Open
			}
		})
		var ack ackCount
		appendAll(t, s, 200, 20, &ack)
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				if err := s.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		ack.check(t, 0)
		if st := s.Stats(); st.Delivered != 200 || st.InFlight != 0 {
			t.Errorf("spool %v: stats %+v", spool, st)
		}
	}
}

// Nothing is sent before the cluster has said whether the topic keeps its own timestamps: an answer to a first send
// could not be told from one about another producer's batch.
func TestNothingIsSentBeforeTheTimestampTypeWasAsked(t *testing.T) {
	c := cluster(t, 1)
	asked := make(chan struct{})
	var answered, early atomic.Bool
	c.ControlKey(int16(kmsg.DescribeConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		c.SleepControl(func() { <-asked })
		answered.Store(true)
		return nil, nil, false
	})
	c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		early.Store(early.Load() || !answered.Load())
		return nil, nil, false
	})
	s := start(t, c, nil)
	appendAll(t, s, 10, 2, nil)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.current.gen > 0 && s.topics[0].described })
	close(asked)
	if st := closeSink(t, s); st.Delivered != 10 || early.Load() {
		t.Errorf("sent before the answer: %v; stats %+v", early.Load(), st)
	}
}

// The end does not wait for a Kafka that was never reached when the disk has everything, or can take it; without a disk
// waiting is all that is left. No test asserts a time: the deadline is an hour away, or over.
func TestCloseDoesNotWaitForAKafkaThatWasNeverReached(t *testing.T) {
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk, SettleOnKafka} {
		disk := newTestDisk(t)
		cfg := Config{Brokers: []string{"127.0.0.1:1"}, Topic: "t", DeadLetterTopic: "t.dlq", Settle: settle, StowTime: 20 * time.Minute}
		s, err := New(cfg, Deps{OpenSpool: disk.Open})
		if err != nil {
			t.Fatal(err)
		}
		var ack ackCount
		if n, err := s.Append(patient(t), []sink.Record{record("a", 0), record("b", 0)}, &ack); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, errNeverReached) {
			t.Errorf("%v: %v", settle, err)
		}
		if st := s.Stats(); st.Spooled != 2 || st.InFlight != 0 || len(st.Dropped) != 0 {
			t.Errorf("%v: stats %+v", settle, st)
		}
	}
	s, err := New(Config{Brokers: []string{"127.0.0.1:1"}, Topic: "t", DeadLetterTopic: "t.dlq"}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.cluster.view.found.kind == unreachable })
	if s.hopeless() {
		t.Error("without a disk the end does not wait")
	}
	s.Close(ended())
}

// A Kafka that was reached may come back within --shutdown-timeout; one that answers and refuses has a moment.
func TestHopeless(t *testing.T) {
	for _, tt := range []struct {
		name    string
		found   kind
		since   time.Duration
		reached bool
		err     error
		want    bool
	}{
		{"not asked yet", noTrouble, time.Hour, false, nil, false},
		{"unreachable", unreachable, 0, false, nil, true},
		{"no such name", unresolved, 0, false, nil, true},
		{"topic is being made", topicMissing, 0, false, nil, false},
		{"no topic", topicMissing, time.Minute, false, nil, true},
		{"was reached", unreachable, time.Hour, true, nil, false},
		{"the disk fails", unreachable, time.Hour, false, errors.New("disk"), false},
	} {
		disk := newTestDisk(t)
		sp, err := disk.Open()
		if err != nil {
			t.Fatal(err)
		}
		s := &Sink{}
		s.join()
		s.cluster.view.found.kind, s.cluster.view.foundAt, s.cluster.view.reached = tt.found, time.Now().Add(-tt.since), tt.reached
		s.disk.sp, s.disk.err = sp, tt.err
		if got := s.hopeless(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCloseBesideABusySpool: another process has the spool. A sink that ends before it gives that up delivers what it has,
// and one that has nothing ends though no broker answers.
func TestCloseBesideABusySpool(t *testing.T) {
	t.Parallel()
	for _, away := range []bool{false, true} {
		c := cluster(t, 2)
		s, n := spooling(t, c, "", func(_ *Config, d *Deps) {
			d.OpenSpool = func() (diskqueue.Spool, error) { return nil, diskqueue.ErrBusy }
		})
		events := 10
		if away {
			n.cut()
			events = 0
		}
		appendAll(t, s, events, 3, nil)
		waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.disk.err != nil })
		if st := closeSink(t, s); st.Delivered != int64(events) || len(st.Dropped) != 0 {
			t.Errorf("away %v: %+v", away, st)
		}
	}
}
