//go:build unix

package ring

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// parkMany starts goroutines that wait in every way there is; they leave when all is closed.
func parkMany(t *testing.T) (closeAll func()) {
	empty, full, g := New[int](16), New[int](16), NewGate(GateConfig{Items: 1, Bytes: 1})
	for full.TryPush(0) == nil {
	}
	if err := g.TryReserve(1); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	const each = 4
	start := func(wait func() error) {
		for range each {
			go func() {
				if err := wait(); err != ErrClosed {
					t.Errorf("left with %v", err)
				}
				done <- struct{}{}
			}()
		}
	}
	start(func() error { _, err := empty.PopBatch(make([]int, 4)); return err })
	start(func() error { _, err := empty.PopBatchContext(t.Context(), make([]int, 4)); return err })
	start(func() error { return full.Push(t.Context(), 1) })
	start(func() error { return g.Reserve(t.Context(), 1, 1000*time.Hour) })
	for empty.ready.waiters.Load() != 2*each || full.room.waiters.Load() != each || g.Waiting() != each {
		runtime.Gosched()
	}
	return func() {
		empty.Close()
		full.Close()
		g.Close()
		for range 4 * each {
			<-done
		}
	}
}

// Whoever waits makes no periodic wake-ups. In the bubble 100 hours pass at once unless somebody
// polls: a poll every 10 ms would be 36 million wake-ups for each of 16 goroutines and run for
// minutes; a loop of yields would never end.
func TestParkedMakeNoTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closeAll := parkMany(t)
		before, _ := cpu()
		<-time.After(100 * time.Hour)
		after, _ := cpu()
		if d := after - before; d > 5*time.Second {
			t.Errorf("100 idle hours cost %v of CPU", d)
		}
		closeAll()
	})
}

// The same in real time, against what the process does anyway: context switches and CPU. A poll every
// millisecond would be 300 switches for each of 16 goroutines, and 20 ms of CPU or more.
func TestParkedUseNoCPU(t *testing.T) {
	closeAll := parkMany(t)
	defer closeAll()
	runtime.GC() // now, not during the measurement
	const attempts = 5
	for i := 1; ; i++ {
		usedBefore, before := cpu()
		<-time.After(300 * time.Millisecond)
		usedAfter, after := cpu()
		used, switches := usedAfter-usedBefore, after-before
		t.Logf("idle for 300 ms: %v of CPU, %d context switches", used, switches)
		if used < 15*time.Millisecond && switches < 100 {
			return // one quiet interval is proof: a poller is never quiet
		}
		if i == attempts {
			t.Fatalf("no quiet interval in %d", attempts)
		}
	}
}
