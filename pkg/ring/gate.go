package ring

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The word of a gate. All credits and both reasons why a release must do more than add live in one
// place, so one atomic operation sees them together.
//
//	63      62      61    60 ... 41   40 ... 0
//	closed  queued  idle  items (20)  bytes (41)
const (
	byteBits = 41
	itemBits = 20
	itemOne  = uint64(1) << byteBits
	byteMask = itemOne - 1
	itemMask = (uint64(1)<<itemBits - 1) << byteBits
	credits  = itemMask | byteMask

	flagIdle   = uint64(1) << 61 // a goroutine is in WaitIdle
	flagQueued = uint64(1) << 62 // there is a queue: newcomers must join it
	flagClosed = uint64(1) << 63
)

// The largest limits a gate can have.
const (
	MaxItems = 1<<itemBits - 1 // 1,048,575
	MaxBytes = 1<<byteBits - 1 // just under 2 TiB
)

// GateConfig is the limits of a [Gate].
type GateConfig struct {
	Items      int           // reservations held at the same time, 1 to MaxItems
	Bytes      int64         // their bytes together, 1 to MaxBytes
	MaxWaiters int           // goroutines waiting in Reserve; more get ErrFull at once. 0: no bound
	Grace      time.Duration // a second wait when a deadline was overshot by a freeze. 0: none
}

// Gate bounds what is in flight, in items and in bytes. It is a semaphore with two weights whose
// waiters are served strictly in order of arrival. All methods are safe for concurrent use. Use
// [NewGate]. A gate knows nothing of rings: see the package documentation for their use together.
type Gate struct {
	_    [line]byte
	word atomic.Uint64
	_    [line - 8]byte

	// Never changed after NewGate: off the line of the word.
	maxItems   uint64
	maxBytes   uint64
	maxWaiters int
	grace      time.Duration
	now        func() time.Time // time.Now; tests make a freeze with it
	_          [line]byte

	mu    sync.Mutex
	queue waitList      // who waits in Reserve
	idle  chan struct{} // closed when all credits are back; nil while no goroutine is in WaitIdle
	pool  sync.Pool     // of *waiter. Per gate: channels must not travel between synctest bubbles
	_     [line]byte
}

// NewGate returns an open gate with all credits free. It panics on limits outside their range.
func NewGate(c GateConfig) *Gate {
	if c.Items < 1 || c.Items > MaxItems || c.Bytes < 1 || c.Bytes > MaxBytes || c.MaxWaiters < 0 || c.Grace < 0 {
		panic(fmt.Sprintf("ring: gate limits out of range: %+v", c))
	}
	return &Gate{
		maxItems: uint64(c.Items), maxBytes: uint64(c.Bytes), maxWaiters: c.MaxWaiters,
		grace: c.Grace, now: time.Now,
	}
}

// TryReserve takes one item and bytes of the budget without waiting. ErrFull: they are not free, or
// others wait for them. ErrTooLarge: more than the whole budget, or negative. ErrClosed.
func (g *Gate) TryReserve(bytes int64) error {
	if uint64(bytes) > g.maxBytes {
		return ErrTooLarge
	}
	for {
		u := g.word.Load()
		if u&flagClosed != 0 {
			return ErrClosed
		}
		if u&flagQueued != 0 || !g.fits(u, itemOne+uint64(bytes)) {
			return ErrFull
		}
		hook()
		if g.word.CompareAndSwap(u, u+itemOne+uint64(bytes)) {
			return nil
		}
	}
}

// fits reports whether need, in the form of the word, stays within both limits. Its bytes are at most maxBytes.
func (g *Gate) fits(u, need uint64) bool {
	return (u&itemMask+need&itemMask)>>byteBits <= g.maxItems && u&byteMask+need&byteMask <= g.maxBytes
}

// TryGrow takes more bytes for an item already reserved, for bodies whose length is not known
// beforehand. It never waits, and never overtakes those who do wait. After false the reservation is
// unchanged. It answers false on a closed gate.
func (g *Gate) TryGrow(bytes int64) bool {
	for {
		u := g.word.Load()
		if uint64(bytes) > g.maxBytes-u&byteMask || u&(flagClosed|flagQueued) != 0 {
			return false
		}
		hook()
		if g.word.CompareAndSwap(u, u+uint64(bytes)) {
			return true
		}
	}
}

// Release gives back items and bytes, of one reservation or of a whole batch, and grants them to
// those who wait. Without waiters it is one atomic addition. Releasing more than is reserved is a
// bug of the caller and panics: the bound would be void from then on.
func (g *Gate) Release(items int, bytes int64) {
	if uint64(items) > MaxItems || uint64(bytes) > MaxBytes {
		panic(fmt.Sprintf("ring: release of %d items, %d bytes", items, bytes))
	}
	back := uint64(items)<<byteBits + uint64(bytes)
	u := g.word.Add(-back)
	if before := u + back; before&byteMask < uint64(bytes) || before&itemMask < uint64(items)<<byteBits {
		panic(fmt.Sprintf("ring: release of %d items, %d bytes: more than reserved (%d, %d)",
			items, bytes, before&itemMask>>byteBits, before&byteMask))
	}
	hook()
	if u&flagQueued != 0 {
		g.mu.Lock()
		g.grantLocked()
		g.mu.Unlock()
	}
	if u&flagIdle != 0 && u&credits == 0 {
		g.mu.Lock()
		if g.word.Load()&credits == 0 { // still: who called WaitIdle since then must not hear of old news
			g.allBackLocked()
		}
		g.mu.Unlock()
	}
}

// Close refuses all later reservations and those that wait (ErrClosed). What is reserved stays
// reserved until it is released. Close does not wait for that ([Gate.WaitIdle] does); it is idempotent.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.word.Or(flagClosed)
	hook()
	for w := g.queue.first; w != nil; w = g.queue.first {
		g.dequeueLocked(w, refused)
	}
}

// InUse is what is reserved, both numbers of the same instant.
func (g *Gate) InUse() (items int, bytes int64) {
	u := g.word.Load()
	return int(u & itemMask >> byteBits), int64(u & byteMask)
}

// Limits is what the gate was made with.
func (g *Gate) Limits() (items int, bytes int64) { return int(g.maxItems), int64(g.maxBytes) }

// Waiting is the number of goroutines that wait in Reserve.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queue.n
}

// WaitIdle waits until all credits are back, or until ctx ends (ctx.Err()). nil means that at one
// moment of the call nothing was reserved; after Close that moment lasts, and everything that was
// admitted is done with. On an open gate under traffic short moments may pass unnoticed.
func (g *Gate) WaitIdle(ctx context.Context) error {
	g.mu.Lock()
	// The flag first, then the look: a release that misses the flag came before, and the look counts it.
	if g.word.Or(flagIdle)&credits == 0 {
		g.allBackLocked()
		g.mu.Unlock()
		return nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err() // the flag stays until all credits are back once; it costs that release a lock
	}
}

// allBackLocked releases everybody in WaitIdle.
func (g *Gate) allBackLocked() {
	g.word.And(^flagIdle)
	if g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}
