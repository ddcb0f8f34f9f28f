package ring

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateLimits(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		type step struct {
			reserve int64
			want    error
		}
		for name, c := range map[string]struct {
			config GateConfig
			steps  []step
		}{
			"items":           {GateConfig{Items: 2, Bytes: 100}, []step{{0, nil}, {0, nil}, {0, ErrFull}}},
			"bytes":           {GateConfig{Items: 9, Bytes: 100}, []step{{99, nil}, {1, nil}, {1, ErrFull}, {0, nil}}},
			"exact":           {GateConfig{Items: 1, Bytes: 100}, []step{{100, nil}, {0, ErrFull}}},
			"smaller may fit": {GateConfig{Items: 9, Bytes: 100}, []step{{60, nil}, {41, ErrFull}, {40, nil}}},
			"too large":       {GateConfig{Items: 9, Bytes: 100}, []step{{101, ErrTooLarge}, {math.MaxInt64, ErrTooLarge}, {-1, ErrTooLarge}, {math.MinInt64, ErrTooLarge}, {100, nil}}},
			"largest":         {GateConfig{Items: MaxItems, Bytes: MaxBytes}, []step{{MaxBytes, nil}, {1, ErrFull}, {0, nil}, {MaxBytes + 1, ErrTooLarge}}},
		} {
			g := open(c.config)
			if items, bytes := g.Limits(); items != c.config.Items || bytes != c.config.Bytes {
				t.Errorf("%s: Limits = %d, %d", name, items, bytes)
			}
			var items int
			var bytes int64
			for i, s := range c.steps {
				err := g.TryReserve(s.reserve)
				if i%2 == 1 && err == ErrFull { // without a wait both are the same
					err = g.Reserve(t.Context(), s.reserve, 0)
				}
				if err != s.want {
					t.Errorf("%s, step %d: %v, want %v", name, i, err, s.want)
				}
				if err == nil {
					items, bytes = items+1, bytes+s.reserve
				}
				if i, b := g.InUse(); i != items || b != bytes {
					t.Errorf("%s: in use %d, %d, want %d, %d", name, i, b, items, bytes)
				}
			}
			g.Release(items, bytes)
			if i, b := g.InUse(); i != 0 || b != 0 {
				t.Errorf("%s: %d, %d left", name, i, b)
			}
		}
	})
}

func TestGateGrow(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		synctest.Test(t, func(t *testing.T) {
			g := open(GateConfig{Items: 4, Bytes: 100})
			if g.TryReserve(10) != nil || !g.TryGrow(80) || g.TryGrow(11) || g.TryGrow(-1) || g.TryGrow(math.MaxInt64) {
				t.Error("grow within the budget and not beyond it")
			}
			if items, bytes := g.InUse(); items != 1 || bytes != 90 {
				t.Errorf("in use %d, %d", items, bytes)
			}
			var err error
			go func() { err = g.Reserve(t.Context(), 20, time.Second) }()
			synctest.Wait()
			if g.TryGrow(5) {
				t.Error("grew past a waiter")
			}
			g.Release(0, 80) // a body that turned out small gives bytes back and keeps its item
			synctest.Wait()
			if err != nil || !g.TryGrow(5) {
				t.Error("no growth after the waiter was served:", err)
			}
			g.Close()
			if g.TryGrow(1) {
				t.Error("grew after Close")
			}
			g.Release(2, 35)
		})
	})
}

// A holder that waits to grow is served before those that wait for a reservation, needs no second item, and
// is told when the gate closes.
func TestGateGrowWaits(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		synctest.Test(t, func(t *testing.T) {
			g := open(GateConfig{Items: 2, Bytes: 100})
			if g.TryReserve(10) != nil || g.TryReserve(80) != nil {
				t.Fatal("no room in an empty gate")
			}
			if err := g.Grow(t.Context(), 10, 0); err != nil { // fits
				t.Error(err)
			}
			if g.Grow(t.Context(), 1, 0) != ErrFull || g.Grow(t.Context(), 101, time.Hour) != ErrTooLarge || g.Grow(t.Context(), -1, time.Hour) != ErrTooLarge {
				t.Error("grew without room")
			}
			if err := g.Grow(t.Context(), 1, time.Second); err != ErrFull {
				t.Error("the wait ended with", err)
			}
			order := make(chan string, 3)
			go func() {
				if err := g.Reserve(t.Context(), 60, time.Hour); err != nil {
					t.Error(err)
				}
				order <- "reserve"
			}()
			synctest.Wait()
			go func() { // goes first, although it comes second
				if err := g.Grow(t.Context(), 30, time.Hour); err != nil {
					t.Error(err)
				}
				order <- "grow"
			}()
			synctest.Wait()
			g.Release(0, 20) // not enough for either
			synctest.Wait()
			if len(order) != 0 {
				t.Fatal("served without room:", <-order)
			}
			g.Release(0, 10)
			synctest.Wait()
			if got := <-order; got != "grow" || len(order) != 0 {
				t.Fatal("served first:", got)
			}
			g.Release(1, 60)
			synctest.Wait()
			if items, bytes := g.InUse(); items != 2 || bytes != 100 || len(order) != 1 {
				t.Errorf("in use %d, %d", items, bytes)
			}
			go func() {
				if err := g.Grow(t.Context(), 1, time.Hour); err != ErrClosed {
					t.Error("a closed gate said", err)
				}
			}()
			synctest.Wait()
			g.Close()
			if err := g.Grow(t.Context(), 1, time.Hour); err != ErrClosed {
				t.Error("a closed gate said", err)
			}
			g.Release(2, 100)
		})
	})
}

// A newcomer that waits for an item does not hold up a holder for which there are bytes.
func TestGateGrowPastAnItem(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		synctest.Test(t, func(t *testing.T) {
			g := open(GateConfig{Items: 1, Bytes: 100})
			if err := g.TryReserve(10); err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- g.Reserve(t.Context(), 10, time.Hour) }()
			synctest.Wait()
			if err := g.Grow(t.Context(), 50, time.Second); err != nil {
				t.Error(err)
			}
			if len(served) != 0 || g.Waiting() != 1 {
				t.Error("the newcomer was served, or lost its place")
			}
			g.Release(1, 60)
			if err := <-served; err != nil {
				t.Error(err)
			}
			g.Release(1, 10)
		})
	})
}

func TestGateClose(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		synctest.Test(t, func(t *testing.T) {
			g := open(GateConfig{Items: 1, Bytes: 100})
			if err := g.TryReserve(100); err != nil {
				t.Fatal(err)
			}
			var refusals, idle atomic.Int32
			for range 5 {
				go func() {
					if err := g.Reserve(t.Context(), 1, time.Hour); err == ErrClosed {
						refusals.Add(1)
					}
				}()
				go func() {
					if g.WaitIdle(t.Context()) == nil {
						idle.Add(1)
					}
				}()
			}
			synctest.Wait()
			g.Close()
			g.Close()
			synctest.Wait()
			if n := refusals.Load(); n != 5 || g.Waiting() != 0 {
				t.Errorf("%d of 5 refused, %d still wait", n, g.Waiting())
			}
			if g.TryReserve(1) != ErrClosed || g.Reserve(t.Context(), 1, time.Hour) != ErrClosed {
				t.Error("reserved after Close")
			}
			if items, bytes := g.InUse(); items != 1 || bytes != 100 || idle.Load() != 0 {
				t.Errorf("Close changed what is in use: %d, %d; %d idle", items, bytes, idle.Load())
			}
			g.Release(0, 100) // bytes back, the item not yet
			synctest.Wait()
			if idle.Load() != 0 {
				t.Error("idle with an item in use")
			}
			g.Release(1, 0)
			synctest.Wait()
			if n := idle.Load(); n != 5 {
				t.Errorf("%d of 5 saw the last credit come back", n)
			}
			if err := g.WaitIdle(ended()); err != nil {
				t.Errorf("WaitIdle on an idle gate = %v", err)
			}
		})
	})
}

func TestGateWaitIdleEnds(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		g := open(GateConfig{Items: 1, Bytes: 1})
		for range 3 { // a leaver must not disturb the next round
			if err := g.TryReserve(1); err != nil {
				t.Fatal(err)
			}
			if err := g.WaitIdle(ended()); err == nil {
				t.Error("idle with a credit in use")
			}
			g.Release(1, 1)
			if err := g.WaitIdle(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestGateReleaseTooMuch(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		for _, c := range []struct {
			items int
			bytes int64
		}{{2, 10}, {1, 11}, {-1, 0}, {0, -1}, {math.MaxInt32, 0}, {0, math.MaxInt64}} {
			g := open(GateConfig{Items: 5, Bytes: 100})
			if err := g.TryReserve(10); err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("Release(%d, %d) of 1, 10 went unnoticed", c.items, c.bytes)
					}
				}()
				g.Release(c.items, c.bytes)
			}()
		}
	})
}

func TestGateConfigOutOfRange(t *testing.T) {
	for _, c := range []GateConfig{
		{}, {Items: 1}, {Bytes: 1}, {Items: -1, Bytes: 1}, {Items: MaxItems + 1, Bytes: 1},
		{Items: 1, Bytes: MaxBytes + 1}, {Items: 1, Bytes: 1, MaxWaiters: -1}, {Items: 1, Bytes: 1, Grace: -1},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was accepted", c)
				}
			}()
			NewGate(c)
		}()
	}
}

// Random sizes, deadlines, growth and contexts: never over a bound, nothing left over, nobody
// forgotten.
func TestGateConserves(t *testing.T) {
	eachProcs(t, func(t *testing.T) {
		eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
			const items, budget = 50, 5000
			g := open(GateConfig{Items: items, Bytes: budget, MaxWaiters: 120})
			var wg sync.WaitGroup
			var heldItems, heldBytes, reserved atomic.Int64
			for range 200 {
				wg.Go(func() {
					for range rounds(400) {
						n := int64(rand.IntN(800))
						err := g.Reserve(t.Context(), n, time.Duration(rand.IntN(400)-40)*time.Microsecond)
						if err != nil {
							if err != ErrFull {
								t.Errorf("Reserve = %v", err)
							}
							continue
						}
						reserved.Add(1)
						a, b := heldItems.Add(1), heldBytes.Add(n)
						if a > items || b > budget {
							t.Errorf("over the bound: %d items, %d bytes", a, b)
						}
						if rand.IntN(8) == 0 && g.TryGrow(100) {
							heldBytes.Add(100)
							n += 100
						}
						heldItems.Add(-1)
						heldBytes.Add(-n)
						g.Release(1, n)
					}
				})
			}
			wg.Wait()
			if i, b := g.InUse(); i != 0 || b != 0 || g.Waiting() != 0 {
				t.Fatalf("left in use: %d items, %d bytes, %d waiting", i, b, g.Waiting())
			}
			if g, ok := g.(*Gate); ok && (g.word.Load() != 0 || g.queue.first != nil || g.queue.last != nil) {
				t.Fatalf("word %x, queue %v", g.word.Load(), g.queue)
			}
			if reserved.Load() == 0 {
				t.Fatal("nothing was reserved")
			}
		})
	})
}
