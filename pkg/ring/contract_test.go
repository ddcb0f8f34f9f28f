package ring

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// One goroutine: the queue behaves like a slice, whatever the sizes.
func TestSequential(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[int]) {
		q := c.make(16)
		var want []int
		dst := make([]int, 2*q.Cap())
		for next, round := 0, 0; round < 500; round++ {
			for range rand.IntN(q.Cap() + 4) {
				switch err := q.TryPush(next); {
				case err == nil && len(want) < q.Cap():
					want = append(want, next)
					next++
				case err == ErrFull && len(want) == q.Cap():
				default:
					t.Fatalf("TryPush = %v with %d of %d", err, len(want), q.Cap())
				}
			}
			if q.Len() != len(want) {
				t.Fatalf("Len = %d, want %d", q.Len(), len(want))
			}
			batch := dst[:1+rand.IntN(len(dst))]
			n := q.TryPopBatch(batch)
			if n != min(len(batch), len(want)) {
				t.Fatalf("popped %d of %d into %d", n, len(want), len(batch))
			}
			for i, v := range batch[:n] {
				if v != want[i] {
					t.Fatalf("popped %d, want %d", v, want[i])
				}
			}
			want = want[n:]
		}
	})
}

func TestCap(t *testing.T) {
	for items, want := range map[int]int{-1: 16, 0: 16, 1: 16, 16: 16, 17: 32, 1000: 1024, 1024: 1024, 1025: 2048} {
		for _, c := range contenders[int]() {
			if got := c.make(items).Cap(); got != want {
				t.Errorf("%s: Cap of %d = %d, want %d", c.name, items, got, want)
			}
		}
	}
}

func TestClosed(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[int]) {
		q := c.make(16)
		for i := range 3 {
			if err := q.TryPush(i); err != nil {
				t.Fatal(err)
			}
		}
		q.Close()
		q.Close()
		if n := q.Len(); n != 3 {
			t.Errorf("Len = %d after Close", n)
		}
		if err := q.TryPush(9); err != ErrClosed {
			t.Errorf("TryPush = %v", err)
		}
		if err := q.Push(t.Context(), 9); err != ErrClosed {
			t.Errorf("Push = %v", err)
		}
		dst := make([]int, 2)
		for _, want := range []int{2, 1} { // what was pushed is still popped
			if n, err := q.PopBatch(dst); n != want || err != nil {
				t.Fatalf("PopBatch = %d, %v, want %d", n, err, want)
			}
		}
		for range 2 { // and then the end, again and again
			if n, err := q.PopBatch(dst); n != 0 || err != ErrClosed {
				t.Fatalf("PopBatch = %d, %v", n, err)
			}
		}
		if n := q.TryPopBatch(dst); n != 0 {
			t.Fatalf("TryPopBatch = %d", n)
		}
	})
}

// A full ring that is closed is closed: a producer must not be told to come back.
func TestClosedWhileFull(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[int]) {
		q := c.make(16)
		for q.TryPush(0) == nil {
		}
		q.Close()
		if err := q.TryPush(9); err != ErrClosed {
			t.Errorf("TryPush = %v", err)
		}
	})
}

func TestContextEnded(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[int]) {
		q, dst := c.make(16), make([]int, 4)
		if n, err := q.PopBatchContext(ended(), dst); n != 0 || err != context.Canceled {
			t.Errorf("PopBatchContext on an empty queue = %d, %v", n, err)
		}
		for q.TryPush(0) == nil {
		}
		if err := q.Push(ended(), 9); err != context.Canceled {
			t.Errorf("Push on a full queue = %v", err)
		}
		if n, err := q.PopBatchContext(ended(), dst); n != 4 || err != nil {
			t.Errorf("PopBatchContext with items there = %d, %v", n, err)
		}
		if err := q.Push(ended(), 9); err != nil {
			t.Errorf("Push with room there = %v", err)
		}
	})
}

// Consumers and producers that wait leave when their own context ends, and only then; nothing of
// them stays behind that would take a wake-up from others.
func TestLeaversTakeNothing(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[int]) {
		synctest.Test(t, func(t *testing.T) {
			q := c.make(16)
			ctx, cancel := context.WithCancel(t.Context())
			var left, popped, pushed int
			go func() {
				n, err := q.PopBatchContext(ctx, make([]int, 1))
				if n != 0 || err != context.Canceled {
					t.Errorf("leaver: %d, %v", n, err)
				}
				left++
			}()
			synctest.Wait()
			go func() { popped, _ = q.PopBatch(make([]int, 1)) }()
			synctest.Wait()
			cancel()
			synctest.Wait()
			if left != 1 || popped != 0 {
				t.Fatalf("left %d, popped %d", left, popped)
			}
			if err := q.TryPush(1); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if popped != 1 {
				t.Fatal("the consumer that stayed was not woken")
			}

			for q.TryPush(0) == nil {
			}
			ctx, cancel = context.WithCancel(t.Context())
			go func() {
				if err := q.Push(ctx, 1); err != context.Canceled {
					t.Errorf("leaver: %v", err)
				}
				left++
			}()
			synctest.Wait()
			go func() {
				if err := q.Push(t.Context(), 1); err == nil {
					pushed++
				}
			}()
			synctest.Wait()
			cancel()
			synctest.Wait()
			if left != 2 || pushed != 0 {
				t.Fatalf("left %d, pushed %d", left, pushed)
			}
			q.TryPopBatch(make([]int, 1))
			synctest.Wait()
			if pushed != 1 {
				t.Fatal("the producer that stayed was not woken")
			}
			nobodyAnnounced(t, q)
		})
	})
}

func TestEmptyDestinationPanics(t *testing.T) {
	r := New[int](1)
	defer func() {
		if recover() == nil {
			t.Error("no panic: the caller's loop would spin for ever")
		}
	}()
	r.TryPopBatch(nil)
}
