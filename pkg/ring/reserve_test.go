package ring

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// full returns a gate of 1 item and 100 bytes whose credits are all taken.
func full(t *testing.T, open func(GateConfig) admission, c GateConfig) admission {
	t.Helper()
	c.Items, c.Bytes = 1, 100
	g := open(c)
	if err := g.TryReserve(100); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestReserveDeadline(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		synctest.Test(t, func(t *testing.T) {
			g := full(t, open, GateConfig{Grace: time.Hour}) // nothing is late here: no grace
			for _, wait := range []time.Duration{3 * time.Second, time.Millisecond, time.Minute} {
				begin := time.Now()
				if err := g.Reserve(t.Context(), 1, wait); err != ErrFull {
					t.Fatal(err)
				}
				if d := time.Since(begin); d != wait {
					t.Errorf("waited %v instead of %v", d, wait)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			if err := g.Reserve(ctx, 1, time.Hour); err != context.DeadlineExceeded {
				t.Fatal(err)
			}
			if d := time.Since(begin); d != time.Second {
				t.Errorf("waited %v beyond the context", d)
			}
			if g.Waiting() != 0 {
				t.Errorf("%d waiters left", g.Waiting())
			}
			g.Release(1, 100)
			if err := g.TryReserve(100); err != nil {
				t.Errorf("nobody waits, all is free: %v", err)
			}
		})
	})
}

// Strictly first come, first served: with one credit to go round, each is served in turn.
func TestReserveFIFO(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		synctest.Test(t, func(t *testing.T) {
			g := full(t, open, GateConfig{})
			var order []int
			for i := range 8 {
				go func() {
					if err := g.Reserve(t.Context(), 100, time.Hour); err != nil {
						t.Error(err)
					}
					order = append(order, i)
				}()
				synctest.Wait() // queued before the next comes
			}
			for i := range 8 {
				g.Release(1, 100)
				synctest.Wait()
				if len(order) != i+1 || order[i] != i {
					t.Fatalf("served %v", order)
				}
			}
		})
	})
}

// A large one at the head is overtaken by nobody, neither from behind it nor by newcomers.
func TestReserveNoOvertaking(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		synctest.Test(t, func(t *testing.T) {
			g := open(GateConfig{Items: 10, Bytes: 100})
			for range 2 {
				if err := g.TryReserve(50); err != nil {
					t.Fatal(err)
				}
			}
			served := make(chan int64, 10)
			for _, n := range []int64{80, 1, 20, 1} {
				go func() {
					if g.Reserve(t.Context(), n, time.Hour) == nil {
						served <- n
					}
				}()
				synctest.Wait()
			}
			g.Release(1, 50)
			synctest.Wait()
			if len(served) != 0 {
				t.Fatalf("%d bytes overtook 80", <-served)
			}
			if g.TryReserve(1) != ErrFull || g.TryGrow(1) {
				t.Fatal("a newcomer overtook")
			}
			g.Release(1, 50) // now 80, 1 fit; 20 does not, and the 1 behind it would
			synctest.Wait()
			if len(served) != 2 || g.Waiting() != 2 {
				t.Fatalf("%d served, %d waiting", len(served), g.Waiting())
			}
			g.Release(1, 80)
			synctest.Wait()
			got := []int64{<-served, <-served, <-served, <-served}
			slices.Sort(got) // granted in order; who runs first is the scheduler's choice
			if !slices.Equal(got, []int64{1, 1, 20, 80}) {
				t.Fatal(got)
			}
		})
	})
}

// A large one that leaves (deadline or context) must let through those it held back.
func TestReserveLeaverGrants(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		for _, byContext := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				g := open(GateConfig{Items: 10, Bytes: 100})
				if err := g.TryReserve(50); err != nil {
					t.Fatal(err)
				}
				ctx, wait, want := t.Context(), time.Second, ErrFull
				if byContext {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
					wait, want = time.Hour, context.DeadlineExceeded
				}
				var large, small error = nil, ErrFull
				go func() { large = g.Reserve(ctx, 90, wait) }()
				synctest.Wait()
				begin := time.Now()
				small = g.Reserve(t.Context(), 20, time.Hour)
				if d := time.Since(begin); small != nil || d != time.Second {
					t.Errorf("small: %v after %v", small, d)
				}
				synctest.Wait()
				if large != want {
					t.Errorf("large: %v", large)
				}
				if g.TryReserve(1) != nil {
					t.Error("newcomers still refused")
				}
			})
		}
	})
}

func TestReserveMaxWaiters(t *testing.T) {
	eachGate(t, func(t *testing.T, open func(GateConfig) admission) {
		synctest.Test(t, func(t *testing.T) {
			g := full(t, open, GateConfig{MaxWaiters: 3})
			var served, refusals atomic.Int32
			for range 5 {
				go func() {
					begin := time.Now()
					switch err := g.Reserve(t.Context(), 1, time.Hour); err {
					case nil:
						served.Add(1)
						g.Release(1, 1)
					case ErrFull:
						refusals.Add(1)
						if d := time.Since(begin); d != 0 {
							t.Errorf("refused after %v, not at once", d)
						}
					}
				}()
			}
			synctest.Wait()
			if refusals.Load() != 2 || g.Waiting() != 3 {
				t.Errorf("%d refused, %d waiting", refusals.Load(), g.Waiting())
			}
			g.Release(1, 100)
			synctest.Wait()
			if n := served.Load(); n != 3 {
				t.Errorf("%d served", n)
			}
		})
	})
}

// The grant and the deadline at the same moment: the credits are ours, so it is a success. To report
// a failure would leak them.
func TestGrantedWhileTimingOut(t *testing.T) {
	g := full(t, func(c GateConfig) admission { return NewGate(c) }, GateConfig{}).(*Gate)
	for _, late := range []error{ErrFull, context.Canceled} {
		w, err := g.enqueue(itemOne + 100)
		if w == nil {
			t.Fatal(err)
		}
		w.timer = time.NewTimer(time.Hour)
		g.Release(1, 100) // grants
		if err := g.giveUp(w, late); err != nil {
			t.Fatalf("granted, then %v", err)
		}
		if items, bytes := g.InUse(); items != 1 || bytes != 100 {
			t.Fatalf("in use %d, %d", items, bytes)
		}
		if len(w.wake) != 0 {
			t.Fatal("a stale wake-up would be the next user's")
		}
	}
	w, _ := g.enqueue(itemOne + 100)
	w.timer = time.NewTimer(time.Hour)
	g.Close()
	if err := g.giveUp(w, ErrFull); err != ErrClosed {
		t.Fatalf("closed while timing out: %v", err)
	}
}

// A freeze is a clock that jumps while nobody runs: the deadline is noticed late, and those who hold
// credits get Grace to release them.
func TestReserveGrace(t *testing.T) {
	const wait, grace = time.Second, 50 * time.Millisecond
	for _, c := range []struct {
		name    string
		jump    time.Duration // how late the deadline is noticed
		release time.Duration // when the credits come, after the start; 0: never
		want    error
		waited  time.Duration
	}{
		{"busy scheduler", 100 * time.Millisecond, 0, ErrFull, wait},
		{"frozen, credits come", 101 * time.Millisecond, wait + 20*time.Millisecond, nil, wait + 20*time.Millisecond},
		{"frozen, none come", time.Hour, 0, ErrFull, wait + grace},
		{"frozen, they come too late", time.Hour, wait + grace + 1, ErrFull, wait + grace},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := full(t, func(c GateConfig) admission { return NewGate(c) }, GateConfig{Grace: grace}).(*Gate)
				begin := time.Now()
				g.now = func() time.Time {
					now := time.Now()
					if now.Sub(begin) >= wait {
						now = now.Add(c.jump)
					}
					return now
				}
				if c.release != 0 {
					time.AfterFunc(c.release, func() { g.Release(1, 100) })
				}
				err := g.Reserve(t.Context(), 100, wait)
				if d := time.Since(begin); err != c.want || d != c.waited {
					t.Errorf("%v after %v, want %v after %v", err, d, c.want, c.waited)
				}
				if g.Waiting() != 0 {
					t.Error("still queued")
				}
				synctest.Wait()
			})
		})
	}
}

// In its grace a waiter keeps its place at the head.
func TestGraceKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := full(t, func(c GateConfig) admission { return NewGate(c) }, GateConfig{Grace: time.Second}).(*Gate)
		begin := time.Now()
		g.now = func() time.Time { return begin.Add(time.Since(begin) * 2) } // every deadline is noticed late
		var first, second error = ErrFull, ErrFull
		go func() { first = g.Reserve(t.Context(), 100, time.Second) }()
		synctest.Wait()
		go func() { second = g.Reserve(t.Context(), 100, time.Hour) }()
		synctest.Wait()
		<-time.After(1500 * time.Millisecond) // the first is in its grace
		g.Release(1, 100)
		synctest.Wait()
		if first != nil || second == nil {
			t.Errorf("first %v, second %v", first, second)
		}
		g.Release(1, 100)
		synctest.Wait()
		if second != nil {
			t.Error(second)
		}
	})
}
