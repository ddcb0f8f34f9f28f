package ring

import (
	"context"
	"sync"
)

// chanQueue is the contract on a Go channel. The lock is what it takes to close a channel under
// senders without a panic and without losing an item.
type chanQueue[T any] struct {
	ch     chan T
	done   chan struct{} // closed first: senders that wait leave
	mu     sync.RWMutex  // held for reading by every sender
	closed bool
	once   sync.Once
}

func newChanQueue[T any](items int) *chanQueue[T] {
	return &chanQueue[T]{ch: make(chan T, New[T](items).Cap()), done: make(chan struct{})}
}

func (q *chanQueue[T]) TryPush(v T) error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return ErrClosed
	}
	select {
	case q.ch <- v:
		return nil
	default:
		return ErrFull
	}
}

func (q *chanQueue[T]) Push(ctx context.Context, v T) error {
	if err := q.TryPush(v); err != ErrFull {
		return err
	}
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return ErrClosed
	}
	select {
	case q.ch <- v:
		return nil
	case <-q.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *chanQueue[T]) PopBatch(dst []T) (int, error) {
	return q.PopBatchContext(context.Background(), dst)
}

func (q *chanQueue[T]) PopBatchContext(ctx context.Context, dst []T) (int, error) {
	n, closed := q.try(dst)
	if n == 0 && !closed {
		select {
		case v, ok := <-q.ch:
			if closed = !ok; ok {
				dst[0] = v
				n, _ = q.try(dst[1:])
				n++
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if n == 0 && closed {
		return 0, ErrClosed
	}
	return n, nil
}

func (q *chanQueue[T]) try(dst []T) (n int, closed bool) {
	for n < len(dst) {
		select {
		case v, ok := <-q.ch:
			if !ok {
				return n, true
			}
			dst[n] = v
			n++
		default:
			return n, false
		}
	}
	return n, false
}

func (q *chanQueue[T]) TryPopBatch(dst []T) int {
	n, _ := q.try(dst)
	return n
}

func (q *chanQueue[T]) Close() {
	q.once.Do(func() {
		close(q.done)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.closed = true
		close(q.ch)
	})
}

func (q *chanQueue[T]) Len() int { return len(q.ch) }
func (q *chanQueue[T]) Cap() int { return cap(q.ch) }
