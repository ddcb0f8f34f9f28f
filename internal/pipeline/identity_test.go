package pipeline

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/internal/invocation"
	"functiongraph-ingest/pkg/sink"
)

// renewing is a sink that counts its renewals, and remembers the ids of bodies.
type renewing struct {
	fake
	renewed atomic.Int32
	bodies  []uint64
}

func (r *renewing) Renew() { r.renewed.Add(1) }

func (r *renewing) Append(ctx context.Context, recs []sink.Record, ack sink.Ack) (int, error) {
	for i := range recs {
		r.bodies = append(r.bodies, recs[i].BodyID)
	}
	return r.fake.Append(ctx, recs, ack)
}

// clones starts a pipeline whose machine changes when the test says so.
func clones(t *testing.T, besideFunction bool) (p *Pipeline, s *renewing, machine *atomic.Value) {
	t.Helper()
	s, machine = &renewing{}, &atomic.Value{}
	machine.Store("one")
	deps := Deps{Sink: s, Machine: func() string { return machine.Load().(string) }}
	if besideFunction {
		deps.Invocations = invocation.New()
	}
	p = New(Config{Listen: listenConfig(), GateBytes: 4 << 20, RingItems: 16, ShutdownTimeout: 20 * time.Second}, deps)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p, s, machine
}

// send posts n events and waits until the sink has them.
func (r *renewing) send(t *testing.T, p *Pipeline, body string, n int64) {
	t.Helper()
	r.mu.Lock()
	want := r.taken + n
	r.mu.Unlock()
	if status := <-post(p, body); status != 200 {
		t.Fatal(status)
	}
	until(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.taken == want })
}

func TestARestoredInstanceRenewsWhatMustBeUnique(t *testing.T) {
	const restored = `[{"name":"platform.restoreStart","traceId":"a"},{"name":"platform.restoreRuntimeDone","traceId":"a"},{"name":"platform.restoreReport","traceId":"a"}]`
	p, s, _ := clones(t, true)
	s.send(t, p, `{"name":"function"}`, 1)
	if n := s.renewed.Load(); n != 0 {
		t.Errorf("%d renewals before anything happened", n)
	}
	s.send(t, p, restored, 3)
	s.send(t, p, `{"name":"function"}`, 1)
	if n := s.renewed.Load(); n != 1 {
		t.Errorf("%d renewals for one restoration", n)
	}
	if d := s.bodies[4] - s.bodies[0]; d < 10 {
		t.Errorf("the ids of bodies go on: %d", s.bodies)
	}
}

// What a listener takes may be about any machine but its own.
func TestRestorationsOfOthersChangeNothing(t *testing.T) {
	p, s, _ := clones(t, false)
	s.send(t, p, `[{"name":"platform.restoreStart","traceId":"a"}]`, 1)
	if n := s.renewed.Load(); n != 0 {
		t.Errorf("%d renewals", n)
	}
}

func TestAnotherMachineRenewsWhatMustBeUnique(t *testing.T) {
	p, s, machine := clones(t, false)
	now := time.Now().UnixMilli()
	p.look(now)
	p.look(now + 500)
	machine.Store("another")
	p.look(now + 900)
	if n := s.renewed.Load(); n != 0 {
		t.Errorf("%d renewals: it was not to look yet", n)
	}
	p.look(now + 1900)
	p.look(now + 3900)
	if n := s.renewed.Load(); n != 1 {
		t.Errorf("%d renewals", n)
	}
}

// The wall clock goes on while a snapshot lies there, the monotonic one does not.
func TestAJumpOfTheClockIsNoticed(t *testing.T) {
	now := time.Now()
	i := newIdentity(&Deps{Machine: func() string { return "one" }})
	for _, c := range []struct {
		jump time.Duration
		want bool
	}{{0, false}, {time.Second, false}, {time.Minute, true}, {time.Minute, false}, {0, false}} {
		i.epoch = now.Add(c.jump) // the monotonic clock is so far behind
		if got := i.changed(now); got != c.want {
			t.Errorf("%v: %v", c.jump, got)
		}
	}
}
