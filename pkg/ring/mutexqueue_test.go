package ring

import (
	"context"
	"sync"
)

// mutexQueue is the contract with one lock: right by inspection, and the honest rival in speed.
type mutexQueue[T any] struct {
	mu       sync.Mutex
	items    sync.Cond // consumers wait here
	room     sync.Cond // producers wait here
	starving int       // consumers that wait
	blocked  int       // producers that wait
	buf      []T
	head, n  int
	closed   bool
}

func newMutexQueue[T any](items int) *mutexQueue[T] {
	q := &mutexQueue[T]{buf: make([]T, New[T](items).Cap())}
	q.items.L, q.room.L = &q.mu, &q.mu
	return q
}

func (q *mutexQueue[T]) TryPush(v T) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pushLocked(v)
}

func (q *mutexQueue[T]) pushLocked(v T) error {
	switch {
	case q.closed:
		return ErrClosed
	case q.n == len(q.buf):
		return ErrFull
	}
	q.buf[(q.head+q.n)%len(q.buf)] = v
	q.n++
	if q.starving > 0 {
		q.items.Signal()
	}
	return nil
}

func (q *mutexQueue[T]) Push(ctx context.Context, v T) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.pushLocked(v)
	if err != ErrFull {
		return err
	}
	defer q.wakeAtEnd(ctx, &q.room)()
	for err = q.pushLocked(v); err == ErrFull; err = q.pushLocked(v) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		q.blocked++
		q.room.Wait()
		q.blocked--
	}
	return err
}

// wakeAtEnd wakes all who wait on c when ctx ends. The result undoes it.
func (q *mutexQueue[T]) wakeAtEnd(ctx context.Context, c *sync.Cond) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		c.Broadcast()
	})
}

func (q *mutexQueue[T]) popLocked(dst []T) int {
	n := min(len(dst), q.n)
	var zero T
	for i := range n {
		dst[i], q.buf[q.head] = q.buf[q.head], zero
		q.head = (q.head + 1) % len(q.buf)
	}
	q.n -= n
	if n > 0 && q.blocked > 0 {
		q.room.Broadcast()
	}
	return n
}

func (q *mutexQueue[T]) PopBatch(dst []T) (int, error) {
	return q.PopBatchContext(context.Background(), dst)
}

func (q *mutexQueue[T]) PopBatchContext(ctx context.Context, dst []T) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := q.popLocked(dst); n > 0 {
		return n, nil
	}
	if ctx.Done() != nil {
		defer q.wakeAtEnd(ctx, &q.items)()
	}
	for {
		if n := q.popLocked(dst); n > 0 {
			return n, nil
		}
		if q.closed {
			return 0, ErrClosed
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		q.starving++
		q.items.Wait()
		q.starving--
	}
}

func (q *mutexQueue[T]) TryPopBatch(dst []T) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.popLocked(dst)
}

func (q *mutexQueue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.items.Broadcast()
	q.room.Broadcast()
}

func (q *mutexQueue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

func (q *mutexQueue[T]) Cap() int { return len(q.buf) }
