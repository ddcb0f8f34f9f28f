package kafka

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// The clock is looked at with times that were never: monotonic readings come from time.Now, and Add moves
// both the wall clock and the monotonic one.
func TestThawIsFoundByALateTimer(t *testing.T) {
	now := time.Now()
	c := thawClock{epoch: now}
	c.sleeping(time.Minute)
	if c.thawed(now.Add(59 * time.Second)) {
		t.Error("the timer is not due yet")
	}
	if c.thawed(now.Add(61 * time.Second)) {
		t.Error("a second late is a busy CPU")
	}
	if !c.thawed(now.Add(time.Hour)) {
		t.Error("an hour late was not noticed")
	}
	c.awake() // the steward, after it
	if c.thawed(now.Add(time.Hour)) {
		t.Error("noticed twice")
	}
}

// The steward may wake before anybody sends.
func TestThawFoundByTheStewardIsKeptForTheNextSend(t *testing.T) {
	now := time.Now()
	c := thawClock{epoch: now}
	c.due.Store(-int64(time.Hour)) // due an hour before the epoch
	c.awake()
	if !c.thawed(now) || c.thawed(now) {
		t.Error("not told exactly once")
	}
}

// A machine that sleeps stops the monotonic clock: only the wall clock knows.
func TestThawIsFoundByTheWallClock(t *testing.T) {
	now := time.Now()
	c := thawClock{epoch: now}
	c.sleeping(time.Minute)
	c.skew.Add(-int64(time.Hour)) // as if the wall clock had been an hour behind
	if !c.thawed(now) || c.thawed(now) {
		t.Error("not told exactly once")
	}
	c.skew.Add(int64(time.Hour)) // set back: no freeze
	if c.thawed(now) {
		t.Error("a clock that was set back is no freeze")
	}
}

// While the steward is awake, however long it takes, no timer is late.
func TestSlowStewardIsNoFreeze(t *testing.T) {
	c := thawClock{epoch: time.Now()}
	c.sleeping(time.Minute)
	c.awake()
	if c.thawed(time.Now().Add(time.Hour)) {
		t.Error("a freeze was seen")
	}
}

// After a freeze the next batch goes over a new connection, at once and not after a timeout.
func TestFirstSendAfterAThawUsesNewConnections(t *testing.T) {
	c := cluster(t, 1)
	var dials atomic.Int32
	s := start(t, c, func(_ *Config, d *Deps) {
		d.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	})
	send := func() {
		t.Helper()
		a := &ackCount{}
		if _, err := s.Append(patient(t), []sink.Record{{Value: []byte("x")}}, a); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return s.Stats().InFlight == 0 })
	}
	send()
	before := dials.Load()
	send()
	if n := dials.Load(); n != before {
		t.Fatalf("%d connections without a freeze, %d before", n, before)
	}
	s.cluster.clock.stop.Store(true)
	send()
	if n := dials.Load(); n == before {
		t.Error("the batch after the freeze went over an old connection")
	}
	if m := s.Metrics(); m.Thaws != 1 || m.Retries != 0 {
		t.Errorf("%d thaws, %d retries", m.Thaws, m.Retries)
	}
}

// Nothing is dialled before Hold is closed, and closing the sink does not wait for it.
func TestHoldKeepsKafkaOffTheStart(t *testing.T) {
	c := cluster(t, 1)
	var dials atomic.Int32
	hold := make(chan struct{})
	edit := func(_ *Config, d *Deps) {
		d.Hold = hold
		d.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	}
	never := start(t, c, edit)
	never.Close(patient(t))
	s := start(t, c, edit)
	took := make(chan error, 1)
	go func() {
		_, err := s.Append(patient(t), []sink.Record{{Value: []byte("x")}}, nil)
		took <- err
	}()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.waiting == 1 })
	if n := dials.Load(); n != 0 {
		t.Errorf("%d connections while held", n)
	}
	close(hold)
	if err := <-took; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(patient(t)); err != nil || s.Stats().Delivered != 1 {
		t.Errorf("%v, %+v", err, s.Stats())
	}
}

// A partition that failed before a freeze has the time that a leader may take once more after it.
func TestAFreezeIsNoTimeOfFailing(t *testing.T) {
	c := cluster(t, 2)
	stick(c, place{"t", 0})
	s := start(t, c, nil)
	appendRecords(t, s, nil, record(keysOf(0, 2, 1)[0], 1))
	waitForFailure(t, s, func() *lane { return s.topics[0].lanes[0] })
	l := s.topics[0].lanes[0]
	s.mu.Lock()
	l.stuckSince = time.Now().Add(-time.Hour)
	s.mu.Unlock()
	s.cluster.clock.stop.Store(true)
	waitFor(t, func() bool { return s.Metrics().Thaws == 1 })
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Since(l.stuckSince) < time.Hour
	})
}

// A request that is under way at a freeze is answered with an error after it. Its partition began to fail then, not when
// the batch was sent.
func TestARequestUnderWayAtAFreeze(t *testing.T) {
	t.Parallel()
	c := ownBrokers(t, map[string]int32{"t": 2})
	s := stuckSink(t, c, func(_ *Config, d *Deps) { d.stuckAfter = 10 * time.Second })
	keys := []string{keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]}
	appendRecords(t, s, nil, record(keys[0], 0), record(keys[1], 0))
	waitFor(t, func() bool { return s.Stats().Delivered == 2 })
	hold := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		if req.Topics[0].Topic != "t" || req.Topics[0].Partitions[0].Partition != 0 {
			return nil, nil, false
		}
		c.SleepControl(func() { <-hold })
		return answerAll(req, func(string, int32) int16 { return kerr.KafkaStorageError.Code }), nil, true
	})
	appendRecords(t, s, nil, record(keys[0], 1))
	a, b := s.topics[0].lanes[0], s.topics[0].lanes[1]
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return a.busy })
	appendRecords(t, s, nil, record(keys[1], 1))
	waitFor(t, func() bool { return s.Stats().Delivered == 3 })
	s.mu.Lock() // all of that was an hour ago
	const frozen = time.Hour
	a.head.sent = a.head.sent.Add(-frozen)
	b.acked, b.movingSince = b.acked.Add(-frozen), b.movingSince.Add(-frozen-time.Minute)
	s.mu.Unlock()
	s.cluster.clock.stop.Store(true)
	s.cluster.renewAfterThaw(time.Now()) // as the first worker does that sends
	close(hold)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return a.failures > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room.isStuck(a, time.Now()) {
		t.Errorf("a partition that has failed for the first time a moment ago cannot move: since %v", time.Since(a.stuckSince))
	}
}
