package ring

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// eachProcs runs f with 1, 2 and 8 Ps: 1 makes every preemption count, 8 on fewer cores makes the
// kernel stop a thread between any two instructions.
func eachProcs(t *testing.T, f func(t *testing.T)) {
	for _, p := range []int{1, 2, 8} {
		t.Run(fmt.Sprintf("procs=%d", p), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(p))
			f(t)
		})
	}
}

func rounds(n int) int {
	if testing.Short() || raceEnabled {
		return n / 4
	}
	return n
}

// Whatever moment Close falls on: every push that returned nil is popped exactly once, no other is,
// and each consumer sees every producer's items in order.
func TestCloseDrain(t *testing.T) {
	eachProcs(t, func(t *testing.T) {
		eachQueue(t, func(t *testing.T, c contender[item]) {
			for range rounds(160) {
				closeDrain(t, c)
			}
		})
	})
}

func closeDrain(t *testing.T, c contender[item]) {
	const pushes = 150
	producers, consumers := 1+rand.IntN(16), 1+rand.IntN(4)
	q := c.make(1 << (4 + rand.IntN(4)))
	pushed := make([]map[int32]bool, producers)
	popped := make([][]item, consumers)
	var in, out sync.WaitGroup
	for p := range producers {
		pushed[p] = map[int32]bool{}
		in.Go(func() {
			for i := int32(1); i <= pushes; i++ {
				err := pushSomehow(q, item{int32(p), i})
				if err == nil {
					pushed[p][i] = true
				} else if err == ErrClosed {
					return
				}
			}
		})
	}
	for c := range consumers {
		out.Go(func() { popped[c] = drain(q, 1+3*c) })
	}
	if rand.IntN(2) == 0 {
		in.Wait()
	} else {
		for range rand.IntN(2000) { // somewhere in the middle
			runtime.Gosched()
		}
	}
	q.Close()
	in.Wait()
	out.Wait()
	nobodyAnnounced(t, q)
	for _, items := range popped {
		last := make([]int32, producers)
		for _, it := range items {
			if !pushed[it.producer][it.n] {
				t.Fatalf("%v popped twice, or its push had failed", it)
			}
			delete(pushed[it.producer], it.n)
			if it.n <= last[it.producer] {
				t.Fatalf("%v popped after %d", it, last[it.producer])
			}
			last[it.producer] = it.n
		}
	}
	for p, left := range pushed {
		if len(left) != 0 {
			t.Fatalf("%d producers, %d consumers: %d items of producer %d lost", producers, consumers, len(left), p)
		}
	}
}

// pushSomehow mixes the three ways to push: at once, waiting, waiting under a deadline.
func pushSomehow(q queue[item], it item) error {
	switch it.n % 7 {
	case 0:
		return q.TryPush(it)
	case 1:
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(200))*time.Microsecond)
		defer cancel()
		err := q.Push(ctx, it)
		if err != nil && err != ErrClosed && !errors.Is(err, context.DeadlineExceeded) {
			panic(err)
		}
		return err
	default:
		return q.Push(context.Background(), it)
	}
}

// drain pops until the end, with all three ways to pop.
func drain(q queue[item], batch int) (all []item) {
	none, dst := ended(), make([]item, batch)
	for i := 0; ; i++ {
		var n int
		var err error
		switch i % 5 {
		case 0:
			n = q.TryPopBatch(dst)
		case 1:
			n, err = q.PopBatchContext(none, dst)
		default:
			n, err = q.PopBatch(dst)
		}
		all = append(all, dst[:n]...)
		if err == ErrClosed {
			return all
		}
	}
}

// The ring and its gate as the pipeline uses them: with a reservation in hand TryPush never finds the
// ring full, the bounds hold at every moment, and when everything is through all credits are back.
func TestGateInFrontOfRing(t *testing.T) {
	eachProcs(t, func(t *testing.T) {
		for range rounds(160) {
			gateInFrontOfRing(t)
		}
	})
}

func gateInFrontOfRing(t *testing.T) {
	r := New[int64](16)
	g := NewGate(GateConfig{Items: r.Cap(), Bytes: 5000})
	var in, out sync.WaitGroup
	for range 12 {
		in.Go(func() {
			for range 200 {
				n := int64(rand.IntN(900))
				switch err := g.Reserve(t.Context(), n, time.Minute); err {
				case nil:
				case ErrClosed:
					return
				default:
					t.Errorf("Reserve = %v", err)
					return
				}
				if g.TryGrow(50) {
					n += 50
				}
				if err := r.TryPush(n); err != nil {
					g.Release(1, n)
					if err != ErrClosed {
						t.Errorf("TryPush with a reservation = %v", err)
					}
					return
				}
			}
		})
	}
	for c := range 2 {
		out.Go(func() {
			for dst := make([]int64, 1+4*c); ; {
				n, err := r.PopBatch(dst)
				if err != nil {
					return
				}
				var bytes int64
				for _, b := range dst[:n] {
					bytes += b
				}
				if items, total := g.InUse(); items > r.Cap() || total > 5000 || items < n || total < bytes {
					t.Errorf("in use %d, %d while holding %d, %d", items, total, n, bytes)
				}
				g.Release(n, bytes)
			}
		})
	}
	if rand.IntN(2) == 0 {
		in.Wait()
	} else {
		for range rand.IntN(3000) {
			runtime.Gosched()
		}
	}
	g.Close()
	r.Close()
	if err := g.WaitIdle(t.Context()); err != nil {
		t.Error(err)
	}
	in.Wait()
	out.Wait()
	if items, bytes := g.InUse(); items != 0 || bytes != 0 || g.Waiting() != 0 {
		t.Errorf("left in use: %d items, %d bytes, %d waiting", items, bytes, g.Waiting())
	}
}
