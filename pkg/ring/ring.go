package ring

import (
	"context"
	"runtime"
	"sync/atomic"
)

const (
	// line is the distance between words that different cores write. 128 bytes: some arm64 servers
	// have lines of that size, and amd64 fetches lines in pairs.
	line = 128

	// minCap keeps the remapping of slots (see at) a permutation: it needs two bits to rotate.
	minCap = 16

	closedBit = uint64(1) << 63 // in tail
)

// slot is one cell. seq == pos: free for the push of position pos; seq == pos+1: holds its item.
// Any other value belongs to another lap.
type slot[T any] struct {
	seq atomic.Uint64
	val T
}

// Ring is a bounded lock-free FIFO queue for many producers and many consumers. All methods are safe
// for concurrent use. Use [New]; the zero value is not usable. See the package documentation for the
// protocol.
type Ring[T any] struct {
	_     [line]byte
	tail  atomic.Uint64 // next position to push; bit 63: closed
	_     [line - 8]byte
	head  atomic.Uint64 // next position to pop
	_     [line - 8]byte
	slots []slot[T] // this and the next two never change: off the lines that are written
	mask  uint64
	bits  uint
	_     [line]byte
	ready event // consumers wait here for an item
	room  event // producers of Push wait here for a free slot
}

// New returns a ring with room for items, rounded up to a power of two of at least 16 ([Ring.Cap]).
// Its memory is Cap times (8 bytes + size of T), allocated here and never grown. Keep T small: a
// pointer, or a struct of a few words.
func New[T any](items int) *Ring[T] { return newAt[T](items, 0) }

// newAt is New with positions that begin at start, for tests of wrap-around.
func newAt[T any](items int, start uint64) *Ring[T] {
	n, bits := uint64(minCap), uint(4)
	for n < uint64(max(items, 0)) {
		n, bits = n<<1, bits+1
	}
	r := &Ring[T]{slots: make([]slot[T], n), mask: n - 1, bits: bits, ready: newEvent(), room: newEvent()}
	for pos := start; pos != start+n; pos++ {
		r.at(pos).seq.Store(pos)
	}
	r.tail.Store(start)
	r.head.Store(start)
	return r
}

// at maps neighbouring positions four slots apart (a rotation of the index by two bits), so that two
// producers that publish one after the other do not write the same cache line.
func (r *Ring[T]) at(pos uint64) *slot[T] {
	i := pos & r.mask
	return &r.slots[(i<<2|i>>(r.bits-2))&r.mask]
}

// TryPush appends v. It answers ErrFull only when the ring was full at one moment of the call (that
// of the first load: tail never runs more than Cap ahead of head, so head stood there already), and
// ErrClosed when Close came first; in both cases v was not taken. It never waits for room. (When the
// slot it needs has been popped but not yet freed by a preempted consumer it yields to that consumer:
// a window of a few instructions.) With a [Gate] of at most Cap items in front, and credits released
// only after the pop, it never finds the ring full.
func (r *Ring[T]) TryPush(v T) error {
	for {
		t := r.tail.Load()
		if t&closedBit != 0 {
			return ErrClosed
		}
		s := r.at(t)
		hook()
		switch d := int64(s.seq.Load() - t); {
		case d == 0:
			hook()
			if r.tail.CompareAndSwap(t, t+1) { // claim; fails once closed
				hook()
				s.val = v
				hook()
				s.seq.Store(t + 1) // publish
				r.ready.notify()
				return nil
			}
		case d < 0: // still used by the lap before
			if t-r.head.Load() == uint64(len(r.slots)) {
				return ErrFull
			}
			runtime.Gosched() // its consumer is between claiming and freeing it
		} // d > 0: another producer has this position
	}
}

// Push appends v and waits while the ring is full, until ctx ends (ctx.Err()) or Close (ErrClosed).
// It looks at ctx only when it must wait. Waiting producers are not queued in any order: where order
// and fairness matter put a [Gate] in front and use TryPush.
func (r *Ring[T]) Push(ctx context.Context, v T) error {
	for woken := false; ; {
		err := r.TryPush(v)
		if err == ErrFull {
			r.room.announce()
			if err = r.TryPush(v); err == ErrFull {
				if woken = r.room.park(ctx.Done()); !woken {
					return ctx.Err()
				}
				continue
			}
			r.room.leave()
		}
		if woken {
			r.passRoomOn()
		}
		return err
	}
}

// passRoomOn is passOn of the other side: it wakes the next waiting producer when there is room left or
// the ring is closed. A consumer frees a whole batch of slots but leaves one token.
func (r *Ring[T]) passRoomOn() {
	if r.room.waiters.Load() == 0 {
		return
	}
	t := r.tail.Load()
	hook()
	if t&closedBit != 0 || t-r.head.Load() != uint64(len(r.slots)) {
		r.room.wake()
	}
}

// Close ends pushing: later pushes return ErrClosed, and those that wait are released. Items whose
// push succeeded stay and are popped as usual; after the last one PopBatch returns ErrClosed. Close
// does not wait for that. It is idempotent.
func (r *Ring[T]) Close() {
	r.tail.Or(closedBit)
	r.ready.notify()
	r.room.notify()
}

// Len is the number of items pushed and not popped, at about the time of the call: advice for
// metrics, no proof of anything. It is never below 0 or above Cap.
func (r *Ring[T]) Len() int {
	h := r.head.Load() // before tail: tail never falls behind it
	return int(min(r.tail.Load()&^closedBit-h, uint64(len(r.slots))))
}

// Cap is the number of slots.
func (r *Ring[T]) Cap() int { return len(r.slots) }
