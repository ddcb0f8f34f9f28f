// Package sinktest is the conformance suite of [sink.Sink]: what the pipeline and its ledger rely on, tried against
// any implementation. A new sink's test is
//
//	func TestConformance(t *testing.T) {
//		sinktest.Run(t, func(t *testing.T, blocked bool) sinktest.Subject { … })
//	}
//
// Each check makes a sink of its own and closes it. No check asserts a time: what must not block gets a generous
// deadline.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// Subject is one sink under test.
type Subject struct {
	Sink sink.Sink
	// Unblock lets the destination work, where the subject was made with blocked. It is called at most once. nil: this
	// sink's destination cannot be in the way, and the checks of that are left out.
	Unblock func()
	// Values returns the values of the good events that reached the destination, in its order (of one key), after
	// Close. nil: the sink keeps none.
	Values func() []string
	// Drops is the reason for which the sink drops everything it takes. "": it delivers.
	Drops string
}

// patience is how long something may take that must not block.
const patience = time.Minute

// Run tries everything that the contract of sink.Sink says. make returns a new sink each time; with blocked its
// destination takes nothing until Unblock.
func Run(t *testing.T, make func(t *testing.T, blocked bool) Subject) {
	for _, c := range []struct {
		name    string
		blocked bool
		check   func(t *testing.T, s Subject)
	}{
		{"every record is settled once, in order", false, settledOnce},
		{"nothing of a record is kept", false, nothingKept},
		{"records without an ack, and none at all", false, withoutAck},
		{"many goroutines", false, concurrent},
		{"closed", false, closed},
		{"a full sink lets go of the appender", true, letsGo},
		{"figures while the destination is in the way", true, figures},
		{"a full sink is not ready", true, told},
		{"a destination that comes back", true, comesBack},
		{"closed while the destination is in the way", true, closedInTheWay},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := make(t, c.blocked)
			if c.blocked && s.Unblock == nil {
				_ = s.Sink.Close(within(t))
				return // its destination cannot be in the way
			}
			c.check(t, s)
		})
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Ack counts, and remembers what must never happen.
type Ack struct {
	mu            sync.Mutex
	held, settled int
	lost          int
}

// Hold implements sink.Ack.
func (a *Ack) Hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held++
}

// Settle implements sink.Ack.
func (a *Ack) Settle(lost int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settled++
	a.lost += lost
}

func (a *Ack) check(t *testing.T, lost int64) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held != a.settled || int64(a.lost) != lost {
		t.Errorf("ack: %d parts held, %d settled, %d events lost, want %d", a.held, a.settled, a.lost, lost)
	}
}

// record is event i; its memory is its own.
func record(i int) sink.Record {
	return sink.Record{Key: []byte("key"), Value: fmt.Appendf(nil, `{"n":%d}`, i), Timestamp: 1_700_000_000_000}
}

func letter() *sink.DeadLetter {
	return &sink.DeadLetter{Raw: []byte(`{"n":,}`), Reason: "bad_value", ErrorOffset: 5, BodyID: 1, Timestamp: 1_700_000_000_000}
}

// balanced checks that the ledger adds up, and returns it.
func balanced(t *testing.T, s sink.Sink) sink.Stats {
	t.Helper()
	st := s.Stats()
	sum := st.Delivered + st.DeadLettered + st.SetAside + st.Spooled + st.InFlight + dropped(st)
	if st.Admitted+st.Recovered != sum {
		t.Errorf("the ledger does not add up: %+v", st)
	}
	return st
}

func dropped(st sink.Stats) (n int64) {
	for v := range maps.Values(st.Dropped) {
		n += v
	}
	return n
}

// finish closes the sink and checks that taken events are all settled: good and bad ones.
func finish(t *testing.T, s Subject, ack *Ack, good, bad int64) {
	t.Helper()
	if err := s.Sink.Close(within(t)); err != nil {
		t.Errorf("Close: %v", err)
	}
	st := balanced(t, s.Sink)
	if st.Admitted != good+bad || st.InFlight != 0 {
		t.Errorf("%d taken: %+v", good+bad, st)
	}
	if s.Drops != "" {
		if st.Dropped[s.Drops] != good+bad {
			t.Errorf("%+v", st)
		}
	} else if st.Delivered != good || st.DeadLettered != bad || dropped(st) != 0 {
		t.Errorf("want %d delivered and %d dead letters: %+v", good, bad, st)
	}
	if ack != nil {
		ack.check(t, dropped(st))
		if good+bad > 0 && ack.held == 0 {
			t.Error("the ack was not told")
		}
	}
	if s.Values == nil {
		return
	}
	values := s.Values()
	if int64(len(values)) != good {
		t.Fatalf("%d events reached the destination, want %d", len(values), good)
	}
	for i, v := range values {
		if want := fmt.Sprintf(`{"n":%d}`, i); v != want {
			t.Fatalf("event %d is %s", i, v)
		}
	}
}

func settledOnce(t *testing.T, s Subject) {
	var ack Ack
	ctx := within(t)
	for i := 0; i < 500; i += 50 {
		recs := make([]sink.Record, 50)
		for k := range recs {
			recs[k] = record(i + k)
		}
		if n, err := s.Sink.Append(ctx, recs, &ack); n != len(recs) || err != nil {
			t.Fatal(n, err)
		}
		balanced(t, s.Sink)
	}
	for range 3 {
		if err := s.Sink.DeadLetter(ctx, letter(), &ack); err != nil {
			t.Fatal(err)
		}
	}
	s.Sink.Flush()
	finish(t, s, &ack, 500, 3)
}

func nothingKept(t *testing.T, s Subject) {
	var ack Ack
	r := record(0)
	recs := []sink.Record{r}
	if _, err := s.Sink.Append(within(t), recs, &ack); err != nil {
		t.Fatal(err)
	}
	clear(r.Value)
	clear(r.Key)
	recs[0] = sink.Record{}
	d := letter()
	if err := s.Sink.DeadLetter(within(t), d, &ack); err != nil {
		t.Fatal(err)
	}
	clear(d.Raw)
	*d = sink.DeadLetter{}
	finish(t, s, &ack, 1, 1)
}

func withoutAck(t *testing.T, s Subject) {
	if n, err := s.Sink.Append(within(t), nil, nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := s.Sink.Append(within(t), []sink.Record{record(0)}, nil); n != 1 || err != nil {
		t.Error(n, err)
	}
	if err := s.Sink.DeadLetter(within(t), letter(), nil); err != nil {
		t.Error(err)
	}
	finish(t, s, nil, 1, 1)
}

func concurrent(t *testing.T, s Subject) {
	var ack Ack
	var wg sync.WaitGroup
	ctx := within(t)
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if _, err := s.Sink.Append(ctx, []sink.Record{record(0)}, &ack); err != nil {
					t.Error(err)
				}
				balanced(t, s.Sink)
				s.Sink.Flush()
			}
		})
	}
	wg.Wait()
	s.Values = nil // the order between goroutines is open
	finish(t, s, &ack, 800, 0)
}

func closed(t *testing.T, s Subject) {
	var wg sync.WaitGroup
	for range 3 { // idempotent, also at the same time
		wg.Go(func() {
			if err := s.Sink.Close(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var ack Ack
	if n, err := s.Sink.Append(within(t), []sink.Record{record(0)}, &ack); n != 0 || !errors.Is(err, sink.ErrClosed) {
		t.Errorf("Append after Close: %d, %v", n, err)
	}
	if err := s.Sink.DeadLetter(within(t), letter(), &ack); !errors.Is(err, sink.ErrClosed) {
		t.Errorf("DeadLetter after Close: %v", err)
	}
	if s.Sink.Ready() == nil {
		t.Error("ready after Close")
	}
	s.Sink.Flush()
	if st := balanced(t, s.Sink); st.Admitted != 0 || ack.held != 0 {
		t.Errorf("taken after Close: %+v, %d parts held", st, ack.held)
	}
}

// fill appends until the sink has no room; it returns how many it took. Nothing waits: with a context that has ended
// a sink takes what it has room for.
func fill(t *testing.T, s sink.Sink, ack *Ack) (taken int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		n, err := s.Append(ended(), []sink.Record{record(taken)}, ack)
		if taken += n; err != nil {
			if n != 0 || !errors.Is(err, context.Canceled) {
				t.Fatalf("a full sink: %d, %v", n, err)
			}
			return taken
		}
	}
	t.Fatalf("took %d events while its destination takes none", taken)
	return taken
}

func letsGo(t *testing.T, s Subject) {
	var ack Ack
	taken := fill(t, s.Sink, &ack)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() {
		var err error
		for err == nil { // there may be a little more room by now
			var n int
			n, err = s.Sink.Append(ctx, []sink.Record{record(taken)}, &ack)
			taken += n
		}
		over <- err
	}()
	cancel()
	select {
	case err := <-over:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("an appender whose context has ended hears %v", err)
		}
	case <-time.After(patience):
		t.Fatal("an appender waits although its context has ended")
	}
	balanced(t, s.Sink)
	s.Unblock()
	finish(t, s, &ack, int64(taken), 0)
}

// prompt runs f, which must not block.
func prompt(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s hangs while the destination is in the way", what)
	}
}

func figures(t *testing.T, s Subject) {
	var ack Ack
	taken := fill(t, s.Sink, &ack)
	prompt(t, "Stats", func() {
		if st := balanced(t, s.Sink); st.Admitted != int64(taken) {
			t.Errorf("%d taken: %+v", taken, st)
		}
	})
	prompt(t, "Ready", func() { _ = s.Sink.Ready() })
	prompt(t, "Delivery", func() { _ = s.Sink.Delivery() })
	prompt(t, "Flush", s.Sink.Flush)
	s.Unblock()
	finish(t, s, &ack, int64(taken), 0)
}

// told: a sink in which appends wait is not ready and says what is in the way, and is ready when they do not wait any more.
func told(t *testing.T, s Subject) {
	var ack Ack
	taken := fill(t, s.Sink, &ack)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { // waits for room
		defer close(over)
		for ctx.Err() == nil {
			n, _ := s.Sink.Append(ctx, []sink.Record{record(taken)}, &ack)
			taken += n
		}
	}()
	if !comes(func() bool { return s.Sink.Ready() != nil }) {
		t.Error("appends find no room, and the sink is ready")
	}
	if !comes(func() bool { d := s.Sink.Delivery().State; return d != sink.Idle && d != sink.Delivering }) {
		t.Errorf("appends find no room: %+v", s.Sink.Delivery())
	}
	cancel()
	<-over
	s.Unblock()
	if !comes(func() bool { return s.Sink.Ready() == nil }) {
		t.Errorf("nothing is in the way any more, and the sink is not ready: %v", s.Sink.Ready())
	}
	finish(t, s, &ack, int64(taken), 0)
}

// comes reports whether f becomes true.
func comes(f func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if f() {
			return true
		}
	}
	return false
}

func comesBack(t *testing.T, s Subject) {
	var ack Ack
	first := make(chan error, 1)
	go func() { // it may wait for the destination
		_, err := s.Sink.Append(within(t), []sink.Record{record(0), record(1)}, &ack)
		first <- err
	}()
	s.Unblock()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sink.Append(within(t), []sink.Record{record(2)}, &ack); err != nil {
		t.Fatal(err)
	}
	finish(t, s, &ack, 3, 0)
}

func closedInTheWay(t *testing.T, s Subject) {
	var ack Ack
	taken := fill(t, s.Sink, &ack)
	waits := make(chan error, 1)
	go func() {
		_, err := s.Sink.Append(within(t), []sink.Record{record(taken)}, nil)
		waits <- err
	}()
	prompt(t, "Close", func() { _ = s.Sink.Close(ended()) })
	select {
	case err := <-waits:
		if !errors.Is(err, sink.ErrClosed) {
			t.Errorf("an appender that waits when the sink is closed hears %v", err)
		}
	case <-time.After(patience):
		t.Fatal("an appender waits for a sink that is closed")
	}
	st := balanced(t, s.Sink)
	if st.InFlight != 0 || st.Admitted != int64(taken) {
		t.Errorf("%d taken: %+v", taken, st)
	}
	if taken > 0 {
		ack.check(t, dropped(st))
	}
	s.Unblock()
}
