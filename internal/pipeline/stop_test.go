package pipeline

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"functiongraph-ingest/internal/listen"
	"functiongraph-ingest/pkg/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a sink that settles at once, or never.
type fake struct {
	mu      sync.Mutex
	taken   int64
	full    bool // no room: Append waits until its context ends
	keep    bool // nothing is settled before Close
	acks    []sink.Ack
	inTime  bool // Close found its context alive
	waiting chan struct{}
}

func (f *fake) Append(ctx context.Context, recs []sink.Record, ack sink.Ack) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		f.mu.Unlock()
		close(f.waiting)
		<-ctx.Done()
		f.mu.Lock()
		f.full = false
		return 0, ctx.Err()
	}
	f.taken += int64(len(recs))
	if ack != nil {
		ack.Hold()
		if f.keep {
			f.acks = append(f.acks, ack)
		} else {
			ack.Settle(0)
		}
	}
	return len(recs), nil
}

func (f *fake) DeadLetter(ctx context.Context, d *sink.DeadLetter, ack sink.Ack) error {
	_, err := f.Append(ctx, []sink.Record{{Value: d.Raw}}, ack)
	return err
}

func (f *fake) Flush() {}

func (f *fake) Close(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inTime = ctx.Err() == nil
	for _, a := range f.acks {
		a.Settle(0)
	}
	return ctx.Err()
}

func (f *fake) Ready() error { return nil }

func (f *fake) Delivery() sink.Delivery { return sink.Delivery{} }

func (f *fake) Stats() sink.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sink.Stats{Admitted: f.taken, Delivered: f.taken}
}

func start(t *testing.T, f *fake, shutdown time.Duration) *Pipeline {
	t.Helper()
	p := New(Config{
		Listen:    listenConfig(),
		GateBytes: 4 << 20, RingItems: 16, ShutdownTimeout: shutdown,
	}, Deps{Sink: f})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// listenConfig is a listener that waits for the ack.
func listenConfig() listen.Config {
	return listen.Config{
		Addr: "127.0.0.1:0", MaxBodyBytes: 1 << 20, AdmitWait: time.Minute, AckTimeout: time.Minute,
		ReadTimeout: time.Minute, IdleTimeout: time.Minute, WaitForAck: true,
	}
}

// post sends one body and delivers the status of the answer, 0 for none.
func post(p *Pipeline, body string) <-chan int {
	status := make(chan int, 1)
	go func() {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := c.Post("http://"+p.Addr()+"/", "application/json", strings.NewReader(body))
		if err != nil {
			status <- 0
			return
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		status <- res.StatusCode
	}()
	return status
}

// until polls a condition that another goroutine will make true.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the condition never came true")
		}
	}
}

func balanced(t *testing.T, p *Pipeline) {
	t.Helper()
	l := p.Ledger()
	sum := l.Delivered + l.DeadLettered + l.SetAside + l.InFlight
	for _, n := range l.Dropped {
		sum += n
	}
	if l.Admitted != sum {
		t.Errorf("ledger: admitted %d, accounted for %d: %+v", l.Admitted, sum, l)
	}
	if g := p.Gauges(); g.GateItems != 0 || g.GateBytes != 0 || g.RingItems != 0 {
		t.Errorf("after the stop: %+v", g)
	}
}

// The sink must have its time to deliver even when a client never ends its body.
func TestUnfinishedUploadLeavesTheSinkItsTime(t *testing.T) {
	f := &fake{}
	p := start(t, f, 2*time.Second)
	nc, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
	until(t, func() bool { return p.Gauges().GateItems != 0 })
	if err := p.Stop(t.Context()); err == nil {
		t.Error("the stop does not tell of the body that was still being read")
	}
	if !f.inTime {
		t.Error("the sink was closed with no time left")
	}
	balanced(t, p)
}

// What waits for room when the time is over is dropped and counted, and its sender hears of it.
func TestFullSinkAtTheEndOfTheShutdown(t *testing.T) {
	f := &fake{full: true, waiting: make(chan struct{})}
	p := start(t, f, 200*time.Millisecond)
	status := post(p, `[{"a":1},{"b":2}]`)
	<-f.waiting
	p.Stop(t.Context())
	if got := <-status; got == 200 || got == 503 {
		t.Errorf("status %d for events that were taken and dropped", got)
	}
	if l := p.Ledger(); l.Dropped[sink.DroppedShutdown] != 2 {
		t.Errorf("ledger %+v", l)
	}
	balanced(t, p)
}

// An ack that comes with the sink's Close still becomes a 200.
func TestAckDuringCloseIsAnswered(t *testing.T) {
	f := &fake{keep: true}
	p := start(t, f, 20*time.Second)
	status := post(p, `[{"a":1}]`)
	until(t, func() bool { return f.Stats().Delivered != 0 })
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-status; got != 200 {
		t.Errorf("status %d", got)
	}
	balanced(t, p)
}

// What comes after the stop has begun is taken while the intake is open, though /readyz says no; a caller
// in a hurry ends that.
func TestLateIntake(t *testing.T) {
	f := &fake{}
	cfg := Config{
		Listen:    listen.Config{Addr: "127.0.0.1:0", MaxBodyBytes: 1 << 20, WaitForAck: true, AdmitWait: time.Minute, AckTimeout: time.Minute, ReadTimeout: time.Minute, IdleTimeout: time.Minute},
		GateBytes: 4 << 20, RingItems: 16, ShutdownTimeout: 2 * time.Minute, LateIntake: time.Minute, LateWithin: true,
	}
	p := New(cfg, Deps{Sink: f})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	hurry, now := context.WithCancel(t.Context())
	defer now()
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(hurry) }()
	for end := time.Now().Add(20 * time.Second); p.Ready() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still ready")
		}
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 3 {
		res, err := c.Post("http://"+p.Addr()+"/", "", strings.NewReader(`[{"late":1}]`))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 200 {
			t.Fatalf("%d", res.StatusCode)
		}
	}
	now()
	<-stopped
	if l := p.Ledger(); l.Delivered != 3 {
		t.Errorf("%+v", l)
	}
}

// An instance at rest is not held up by the time that late deliveries have.
func TestLateIntakeEndsWhenItIsQuiet(t *testing.T) {
	p := New(Config{
		Listen:    listen.Config{Addr: "127.0.0.1:0", MaxBodyBytes: 1 << 20},
		GateBytes: 4 << 20, RingItems: 16, ShutdownTimeout: time.Hour, LateIntake: time.Hour, LateQuiet: 10 * time.Millisecond, LateWithin: true,
	}, Deps{Sink: &fake{}})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil { // or the test's own time-out
		t.Error(err)
	}
}

// hanging is a sink of which a call that sets an event aside waits for a disk that hangs.
type hanging struct {
	fake
	called, free chan struct{}
}

func (h *hanging) DeadLetter(context.Context, *sink.DeadLetter, sink.Ack) error {
	close(h.called)
	<-h.free
	return sink.ErrClosed
}

// A disk that hangs does not keep the process from ending.
func TestStopDoesNotWaitForASinkThatHangs(t *testing.T) {
	h := &hanging{called: make(chan struct{}), free: make(chan struct{})}
	p := New(Config{Listen: listenConfig(), GateBytes: 4 << 20, RingItems: 16, ShutdownTimeout: 100 * time.Millisecond}, Deps{Sink: h})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	answer := post(p, "[no event]")
	<-h.called
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(t.Context()) }()
	select {
	case err := <-stopped:
		if err == nil {
			t.Error("the stop tells of nothing")
		}
	case <-time.After(time.Minute):
		t.Error("the stop waits for the sink")
	}
	close(h.free)
	<-answer
	p.decoders.Wait()
}
