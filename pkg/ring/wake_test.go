package ring

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// One Close releases everybody who waits, on either side.
func TestCloseReleasesWaiters(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[int]) {
		synctest.Test(t, func(t *testing.T) {
			empty, full := c.make(16), c.make(16)
			for full.TryPush(0) == nil {
			}
			var released atomic.Int32
			for range 5 {
				go func() {
					if n, err := empty.PopBatch(make([]int, 4)); n != 0 || err != ErrClosed {
						t.Errorf("PopBatch = %d, %v", n, err)
					}
					released.Add(1)
				}()
				go func() {
					if err := full.Push(t.Context(), 1); err != ErrClosed {
						t.Errorf("Push = %v", err)
					}
					released.Add(1)
				}()
			}
			synctest.Wait()
			if n := released.Load(); n != 0 {
				t.Fatalf("%d did not wait", n)
			}
			empty.Close()
			full.Close()
			synctest.Wait() // a goroutine left behind fails the bubble by itself
			if n := released.Load(); n != 10 {
				t.Fatalf("%d of 10 released", n)
			}
		})
	})
}

// A batch pop frees many slots at once: every producer that now has room must be woken.
func TestBatchPopWakesAllProducers(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[int]) {
		synctest.Test(t, func(t *testing.T) {
			q := c.make(16)
			for q.TryPush(0) == nil {
			}
			var pushed atomic.Int32
			for range 7 {
				go func() {
					if q.Push(t.Context(), 1) == nil {
						pushed.Add(1)
					}
				}()
			}
			synctest.Wait()
			if n := q.TryPopBatch(make([]int, 5)); n != 5 {
				t.Fatalf("popped %d", n)
			}
			synctest.Wait()
			if n := pushed.Load(); n != 5 {
				t.Fatalf("%d producers went on, want 5", n)
			}
			q.Close()
		})
	})
}

// A consumer that does not come back from its batch must not strand what others could take, nor the
// news of Close.
func TestStuckConsumerStrandsNothing(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[int]) {
		for round := range 40 {
			synctest.Test(t, func(t *testing.T) { stuckConsumers(t, c.make(16), round) })
		}
	})
}

func stuckConsumers(t *testing.T, q queue[int], round int) {
	const consumers = 4
	var pushed, popped, busy, left atomic.Int32
	free := make(chan struct{})
	for range consumers {
		go func() {
			defer left.Add(1)
			for dst := make([]int, 1); ; {
				n, err := q.PopBatch(dst)
				if err != nil {
					return
				}
				popped.Add(int32(n))
				if busy.Add(1) < consumers { // all but one get stuck with their first batch
					<-free
					return
				}
			}
		}()
	}
	if round%2 == 0 {
		synctest.Wait() // all parked; else they race with the producers
	}
	for range 3 {
		go func() {
			for i := range 3 {
				if q.TryPush(i) == nil {
					pushed.Add(1)
				}
			}
		}()
	}
	if round%4 < 2 {
		go q.Close()
	}
	synctest.Wait()
	if got, want := popped.Load(), pushed.Load(); got != want {
		t.Errorf("round %d: %d of %d popped while a consumer is parked", round, got, want)
	}
	if stuck := min(busy.Load(), consumers-1); round%4 < 2 && left.Load()+stuck != consumers {
		t.Errorf("round %d: %d stuck, %d left: one is parked after Close", round, stuck, left.Load())
	}
	close(free)
	q.Close()
}

// As many consumers as items, as many producers as free slots, and each comes once: all go home.
// Nobody may take being overtaken for "empty" or "full": there is no second push or pop to wake it.
func TestEachTakesOne(t *testing.T) {
	eachProcs(t, func(t *testing.T) {
		eachQueue(t, func(t *testing.T, c contender[int]) {
			for range rounds(400) {
				synctest.Test(t, func(t *testing.T) { eachTakesOne(t, c.make(16)) })
			}
		})
	})
}

func eachTakesOne(t *testing.T, q queue[int]) {
	const n = 6
	var popped, pushed atomic.Int32
	for i := range n {
		if err := q.TryPush(i); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		go func() {
			got, _ := q.PopBatch(make([]int, 1))
			popped.Add(int32(got))
		}()
	}
	synctest.Wait()
	if popped.Load() != n {
		t.Errorf("%d of %d popped, the rest is parked", popped.Load(), n)
	}
	for range q.Cap() - n {
		if err := q.TryPush(0); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		go func() {
			if q.Push(t.Context(), 0) == nil {
				pushed.Add(1)
			}
		}()
	}
	synctest.Wait()
	if pushed.Load() != n {
		t.Errorf("%d of %d pushed, the rest is parked", pushed.Load(), n)
	}
	nobodyAnnounced(t, q)
	q.Close()
}

// Woken and cancelled at the same moment: whoever was told of a change either acts on it or leaves it
// to one that is still parked.
func TestWokenWhileLeaving(t *testing.T) {
	eachProcs(t, func(t *testing.T) {
		eachQueue(t, func(t *testing.T, c contender[int]) {
			for range rounds(20) {
				synctest.Test(t, func(t *testing.T) { wokenWhileLeaving(t, c.make(16)) })
			}
		})
	})
}

func wokenWhileLeaving(t *testing.T, q queue[int]) {
	var popped, pushed atomic.Int32
	pop := func(ctx context.Context) {
		n, _ := q.PopBatchContext(ctx, make([]int, 1))
		popped.Add(int32(n))
	}
	push := func(ctx context.Context) {
		if q.Push(ctx, 0) == nil {
			pushed.Add(1)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go pop(ctx) // parks first: the wake-up is its
	synctest.Wait()
	go pop(t.Context())
	synctest.Wait()
	if err := q.TryPush(0); err != nil {
		t.Fatal(err)
	}
	cancel()
	synctest.Wait()
	if popped.Load() != 1 {
		t.Error("an item is left beside a parked consumer")
	}
	for q.TryPush(0) == nil {
	}
	synctest.Wait() // a consumer that stayed has taken one
	for q.TryPush(0) == nil {
	}
	ctx, cancel = context.WithCancel(t.Context())
	go push(ctx)
	synctest.Wait()
	go push(t.Context())
	synctest.Wait()
	q.TryPopBatch(make([]int, 1))
	cancel()
	synctest.Wait()
	if pushed.Load() != 1 {
		t.Error("a slot is free beside a waiting producer")
	}
	q.Close()
}

// A token that woke nobody (its consumer found the item by itself) costs one look, and never hides a
// later push.
func TestStaleTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New[int](16)
		for i := range 100 {
			r.ready.wake()
			var n int
			go func() { n, _ = r.PopBatch(make([]int, 4)) }()
			synctest.Wait()
			if n != 0 {
				t.Fatalf("round %d: popped %d out of nothing", i, n)
			}
			if err := r.TryPush(i); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n != 1 {
				t.Fatalf("round %d: parked beside an item", i)
			}
		}
		if n := r.ready.waiters.Load(); n != 0 {
			t.Fatalf("%d waiters left", n)
		}
	})
}

// Producers that fill the ring and consumers that empty it in one batch go to sleep in turns, again
// and again; nobody sleeps over the other's last change. (In the bubble a lost wake-up is a deadlock
// and fails at once.)
func TestNobodyOversleeps(t *testing.T) {
	eachProcs(t, func(t *testing.T) {
		eachQueue(t, func(t *testing.T, c contender[int]) {
			for round := range rounds(200) {
				synctest.Test(t, func(t *testing.T) { pingPong(t, c.make(16), 1+round%2, 1+round/2%2) })
			}
		})
	})
}

func pingPong(t *testing.T, q queue[int], producers, consumers int) {
	const pushes = 100
	var in, out sync.WaitGroup
	var popped atomic.Int32
	for range producers {
		in.Go(func() {
			for i := range pushes {
				if err := q.Push(t.Context(), i); err != nil {
					t.Errorf("Push = %v", err)
				}
			}
		})
	}
	for range consumers {
		out.Go(func() {
			for dst := make([]int, q.Cap()); ; {
				n, err := q.PopBatch(dst)
				if err != nil {
					return
				}
				popped.Add(int32(n))
			}
		})
	}
	in.Wait()
	q.Close()
	out.Wait()
	if n := popped.Load(); n != int32(producers*pushes) {
		t.Errorf("popped %d of %d", n, producers*pushes)
	}
	nobodyAnnounced(t, q)
}

// nobodyAnnounced: a count that stayed up would make every later push and pop send a token for nothing.
func nobodyAnnounced[T any](t *testing.T, q queue[T]) {
	if r, ok := q.(*Ring[T]); ok && (r.ready.waiters.Load() != 0 || r.room.waiters.Load() != 0) {
		t.Errorf("%d consumers and %d producers announced for ever", r.ready.waiters.Load(), r.room.waiters.Load())
	}
}

// The narrowest case: one change on one side while the other side is about to sleep, and no second
// change that could wake it later.
func TestLockstep(t *testing.T) {
	eachProcs(t, func(t *testing.T) {
		eachQueue(t, func(t *testing.T, c contender[int]) {
			synctest.Test(t, func(t *testing.T) { lockstep(t, c.make(16), rounds(2000)) })
		})
	})
}

func lockstep(t *testing.T, q queue[int], steps int) {
	done := make(chan struct{})
	one := make([]int, 1)
	go func() { // pushes one item into an empty queue, and waits until it is popped
		for i := range steps {
			if err := q.TryPush(i); err != nil {
				t.Errorf("TryPush = %v", err)
			}
			<-done
		}
	}()
	for i := range steps {
		if n, err := q.PopBatch(one); n != 1 || err != nil || one[0] != i {
			t.Fatalf("PopBatch = %d, %v, item %d, want %d", n, err, one[0], i)
		}
		done <- struct{}{}
	}
	for q.TryPush(0) == nil {
	}
	go func() { // pops one item from a full queue, and waits until another is pushed
		for range steps {
			if n := q.TryPopBatch(one); n != 1 {
				t.Errorf("TryPopBatch = %d", n)
			}
			<-done
		}
	}()
	for range steps {
		if err := q.Push(t.Context(), 0); err != nil {
			t.Fatalf("Push = %v", err)
		}
		done <- struct{}{}
	}
	nobodyAnnounced(t, q)
}
