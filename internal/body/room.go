package body

import (
	"context"
	"math/bits"
	"time"

	"functiongraph-ingest/pkg/ring"
)

// Sizes of buffers that decide how a body is admitted.
const (
	// firstStep is what a body gets whose bytes have not come yet. A body that does not come holds no more.
	firstStep = 4 << 10
	// short is the largest buffer of a body that is admitted beside the share of long ones, if it comes at once.
	short = 64 << 10
)

// Unknown is the announced length of a body that announces none.
const Unknown = -1

// RoomConfig is the limits of a [Room].
type RoomConfig struct {
	Items   int           // bodies at the same time
	Bytes   int64         // their buffers together
	MaxBody int64         // the largest body; more than [LongestBody] of Bytes is never lent
	Grace   time.Duration // see ring.GateConfig
}

// Room is the memory for bodies between the start of their read and their last append. A body gets room for what
// has arrived of it, not for what it announces:
//
//   - A body of at most 4 KiB gets its buffer at once. So does a longer one of which enough has arrived.
//   - Any other body gets 4 KiB first, and when these are full the rest: one growth to its final size, for a body
//     of more than 64 KiB after 64 KiB, or less in a small room.
//   - Bodies of more than 64 KiB, and those that have grown, are long. Together they have three quarters of the
//     room, so that others, which are there when they are admitted and gone within milliseconds, always find some.
//
// A body may wait for its growth, because that cannot deadlock. First it has an item and 4 KiB or less. The bytes
// of three gates are then always taken in one order: growing (long bodies that may ask for more), long (all long
// bodies), all. What growing lends and the largest body fit into long together, so the first in its queue is served
// when the bodies before it that have their final size are done, and these wait for nothing. What waits for growing
// holds 4 KiB.
type Room struct {
	all, long, growing *ring.Gate

	pool    *Pool
	maxBody int64 // in bytes of buffer
	proof   int64 // what must have arrived of a long body before it gets its final size
}

// LongestBody is the largest body that a room of bytes can take, a power of two. A sixteenth of what long bodies
// share is left to those that have not got their final size.
func LongestBody(bytes int64) int64 {
	return 1 << (bits.Len64(uint64(max(1, longShare(bytes)/16*15))) - 1)
}

// RoomFor is the least room that can take a body of n bytes.
func RoomFor(n int64) int64 {
	c := int64(1) << bits.Len64(uint64(max(1, n)-1)) // a power of two
	return ((c+14)/15*16 + 2) / 3 * 4
}

func longShare(bytes int64) int64 { return bytes / 4 * 3 }

// NewRoom returns an empty room.
func NewRoom(c RoomConfig) *Room {
	r := &Room{pool: NewPool(c.Bytes), maxBody: Charge(min(c.MaxBody, LongestBody(c.Bytes)))}
	gate := func(items int, bytes int64) *ring.Gate {
		return ring.NewGate(ring.GateConfig{Items: items, Bytes: max(1, bytes), Grace: c.Grace})
	}
	long := longShare(c.Bytes)
	growing := long - min(long, r.maxBody)
	r.all, r.long, r.growing = gate(c.Items, c.Bytes), gate(ring.MaxItems, long), gate(ring.MaxItems, growing)
	r.proof = short
	for r.proof > firstStep && r.proof > growing/16 {
		r.proof /= 2
	}
	return r
}

// First is what to reserve for a body of n announced bytes (Unknown) of which arrived bytes, at least, are there.
func (r *Room) First(n, arrived int64) int64 {
	if n == Unknown {
		return min(firstStep, r.maxBody)
	}
	c := Charge(n)
	if c <= firstStep || arrived >= n || c <= short && arrived >= firstStep || arrived >= r.proof {
		return c
	}
	return firstStep
}

// Reserve takes one item and charge bytes, a result of First, and waits for them up to wait.
func (r *Room) Reserve(ctx context.Context, charge int64, wait time.Duration) error {
	if charge <= short {
		return r.all.Reserve(ctx, charge, wait)
	}
	if err := r.long.TryReserve(charge); err == nil {
		if r.all.TryReserve(charge) == nil {
			return nil
		}
		r.long.Release(1, charge)
	}
	due := time.Now().Add(wait)
	// The item comes first: bodies with one may wait for long.
	if err := r.all.Reserve(ctx, firstStep, wait); err != nil {
		return err
	}
	err := r.long.Reserve(ctx, charge, time.Until(due))
	if err == nil {
		if err = r.all.Grow(ctx, charge-firstStep, time.Until(due)); err == nil {
			return nil
		}
		r.long.Release(1, charge)
	}
	r.all.Release(1, firstStep)
	return err
}

// Cancel gives back what was reserved for a body that did not come.
func (r *Room) Cancel(charge int64) {
	r.all.Release(1, charge)
	if charge > short {
		r.long.Release(1, charge)
	}
}

// Lend returns a body with a buffer of charge bytes, which are reserved.
func (r *Room) Lend(charge int64) *Body {
	b := r.pool.Get(charge)
	b.long, b.itemless = charge > short, false
	return b
}

// Second returns a body of [Room.First] bytes beside b, of which it is made: b's item goes over to it. It waits for the
// bytes up to wait. After an error b is unchanged.
func (r *Room) Second(ctx context.Context, b *Body, wait time.Duration) (*Body, error) {
	charge := r.First(Unknown, 0)
	if err := r.all.Grow(ctx, charge, wait); err != nil {
		return nil, err
	}
	b.itemless = true
	return r.Lend(charge), nil
}

// Grow moves the body b, whose buffer is full, to a larger one, and waits for it up to wait. total is its
// announced length, or Unknown; it is more than the buffer holds. After an error b is unchanged; ring.ErrTooLarge
// means that no larger buffer exists.
func (r *Room) Grow(ctx context.Context, b *Body, total int64, wait time.Duration) (*Body, error) {
	size := r.maxBody
	if total != Unknown {
		size = Charge(total)
	}
	had := b.Charge()
	due := time.Now().Add(wait)
	switch {
	case had >= size:
		return b, ring.ErrTooLarge
	case had < r.proof && r.proof < size:
		if err := r.grow(ctx, r.proof, due); err != nil {
			return b, err
		}
		return r.move(b, r.proof, true, true), nil
	case total == Unknown && 2*had < size && r.tryGrow(2*had):
		return r.move(b, 2*had, true, true), nil
	}
	if err := r.long.Reserve(ctx, size, time.Until(due)); err != nil {
		return b, err
	}
	if err := r.all.Grow(ctx, size, time.Until(due)); err != nil {
		r.long.Release(1, size)
		return b, err
	}
	return r.move(b, size, true, false), nil
}

// grow takes bytes for a long body that may ask for more later.
func (r *Room) grow(ctx context.Context, bytes int64, due time.Time) error {
	err := r.growing.Reserve(ctx, bytes, time.Until(due))
	if err != nil {
		return err
	}
	if err = r.long.Reserve(ctx, bytes, time.Until(due)); err == nil {
		if err = r.all.Grow(ctx, bytes, time.Until(due)); err == nil {
			return nil
		}
		r.long.Release(1, bytes)
	}
	r.growing.Release(1, bytes)
	return err
}

// tryGrow is grow without waiting.
func (r *Room) tryGrow(bytes int64) bool {
	if r.growing.TryReserve(bytes) != nil {
		return false
	}
	if r.long.TryReserve(bytes) == nil {
		if r.all.TryGrow(bytes) {
			return true
		}
		r.long.Release(1, bytes)
	}
	r.growing.Release(1, bytes)
	return false
}

// move copies a body into a buffer of size bytes, which are reserved, and gives the old one back.
func (r *Room) move(b *Body, size int64, long, growing bool) *Body {
	bigger := r.pool.Get(size)
	bigger.long, bigger.growing, bigger.itemless = long, growing, b.itemless
	copy(bigger.buf, b.buf)
	b.itemless = true // bigger has it
	r.Release(b)
	return bigger
}

// Release gives a body back, with all that was reserved for it. No view into it may be held any more.
func (r *Room) Release(b *Body) {
	charge, long, growing, items := b.Charge(), b.long, b.growing, 1
	if b.itemless {
		items = 0
	}
	r.pool.Put(b)
	r.all.Release(items, charge)
	if long {
		r.long.Release(1, charge)
	}
	if growing {
		r.growing.Release(1, charge)
	}
}

// Close refuses all later reservations and growths, and those that wait, with ring.ErrClosed.
func (r *Room) Close() {
	r.growing.Close()
	r.long.Close()
	r.all.Close()
}

// InUse is what is reserved, and Limits what may be.
func (r *Room) InUse() (items int, bytes int64)  { return r.all.InUse() }
func (r *Room) Limits() (items int, bytes int64) { return r.all.Limits() }

// LongLimit is how many bytes long bodies may have together.
func (r *Room) LongLimit() int64 {
	_, n := r.long.Limits()
	return n
}

// Waiting is the number of bodies that wait for room.
func (r *Room) Waiting() int { return r.all.Waiting() + r.long.Waiting() + r.growing.Waiting() }

// Bytes is the memory of all buffers, lent and idle.
func (r *Room) Bytes() int64 { return r.pool.Bytes() }
