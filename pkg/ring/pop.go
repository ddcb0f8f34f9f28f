package ring

import "context"

// pop claims up to len(dst) consecutive published items with one CAS.
//
// n > 0: popped. 0, false: nothing available now, which is no proof of emptiness: the first item may
// be claimed and not yet published, and its producer will notify. 0, true: closed and drained.
func (r *Ring[T]) pop(dst []T) (n int, drained bool) {
	if len(dst) == 0 {
		panic("ring: pop into an empty slice")
	}
	for {
		h, k := r.head.Load(), uint64(0)
		hook()
		for k < uint64(len(dst)) && r.at(h+k).seq.Load() == h+k+1 {
			k++
		}
		hook()
		if k == 0 {
			t := r.tail.Load()
			if t&^closedBit == h {
				return 0, t&closedBit != 0 // head cannot pass tail: empty at this moment
			}
			hook()
			if r.head.Load() != h {
				continue // overtaken by another consumer
			}
			return 0, false
		}
		if !r.head.CompareAndSwap(h, h+k) {
			continue
		}
		var zero T
		for i := range k {
			s := r.at(h + i)
			hook()
			dst[i], s.val = s.val, zero // cleared: the ring must not keep a body alive
			hook()
			s.seq.Store(h + i + r.mask + 1) // free for the next lap
		}
		r.room.notify()
		return int(k), false
	}
}

// passOn is owed by the consumer that took a token: it wakes the next parked consumer while there is an item,
// or the news of Close, that no other consumer may have been told of. A burst of pushes leaves one token,
// and we may be busy with our batch for long. The closed bit makes tail differ from head.
func (r *Ring[T]) passOn() {
	hook()
	if r.ready.waiters.Load() != 0 && r.tail.Load() != r.head.Load() {
		r.ready.wake()
	}
}

// PopBatch moves between 1 and len(dst) items into dst, oldest first, and returns their number. It
// parks while there is none, without polling, and returns 0, ErrClosed once the ring is closed and
// every item has been popped. The items popped in one call are consecutive. dst must not be empty.
func (r *Ring[T]) PopBatch(dst []T) (int, error) {
	return r.PopBatchContext(context.Background(), dst)
}

// PopBatchContext is PopBatch that also returns when ctx ends, with 0 and ctx.Err(). It looks at ctx
// only when it must park: items that are there are returned even when ctx has ended.
func (r *Ring[T]) PopBatchContext(ctx context.Context, dst []T) (int, error) {
	for woken := false; ; {
		n, drained := r.pop(dst)
		if n == 0 && !drained {
			r.ready.announce()
			if n, drained = r.pop(dst); n == 0 && !drained {
				if woken = r.ready.park(ctx.Done()); !woken {
					return 0, ctx.Err()
				}
				continue
			}
			r.ready.leave()
		}
		if woken {
			r.passOn()
		}
		if drained {
			return 0, ErrClosed
		}
		return n, nil
	}
}

// TryPopBatch is PopBatch that never parks. 0 means that nothing was available at the moment; it
// proves neither that the ring is empty nor that it is open.
func (r *Ring[T]) TryPopBatch(dst []T) int {
	n, _ := r.pop(dst)
	return n
}
