package ring

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// admission is what the tests of the gate are written against: the gate itself, and one that is
// right by inspection.
type admission interface {
	TryReserve(bytes int64) error
	Reserve(ctx context.Context, bytes int64, wait time.Duration) error
	TryGrow(bytes int64) bool
	Grow(ctx context.Context, bytes int64, wait time.Duration) error
	Release(items int, bytes int64)
	Close()
	InUse() (items int, bytes int64)
	Limits() (items int, bytes int64)
	Waiting() int
	WaitIdle(ctx context.Context) error
}

// eachGate runs f once for both implementations.
func eachGate(t *testing.T, f func(t *testing.T, open func(GateConfig) admission)) {
	t.Run("gate", func(t *testing.T) { f(t, func(c GateConfig) admission { return NewGate(c) }) })
	t.Run("mutex", func(t *testing.T) { f(t, func(c GateConfig) admission { return newMutexGate(c) }) })
}

// mutexGate is the contract of Gate (without grace) with one lock, a slice for a queue and a timer
// per wait.
type mutexGate struct {
	GateConfig
	mu     sync.Mutex
	items  int
	bytes  int64
	closed bool
	queue  []*mutexWaiter
	change chan struct{} // closed and replaced at every release
}

type mutexWaiter struct {
	items int
	bytes int64
	err   error
	done  chan struct{}
}

func newMutexGate(c GateConfig) *mutexGate {
	return &mutexGate{GateConfig: c, change: make(chan struct{})}
}

func (g *mutexGate) fits(items int, bytes int64) bool {
	return g.items+items <= g.Items && g.bytes+bytes <= g.Bytes
}

func (g *mutexGate) TryReserve(bytes int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tryLocked(1, bytes)
}

func (g *mutexGate) tryLocked(items int, bytes int64) error {
	switch {
	case bytes < 0 || bytes > g.Bytes:
		return ErrTooLarge
	case g.closed:
		return ErrClosed
	case len(g.queue) > 0 && (items > 0 || g.queue[0].items == 0) || !g.fits(items, bytes):
		return ErrFull
	}
	g.items += items
	g.bytes += bytes
	return nil
}

func (g *mutexGate) Reserve(ctx context.Context, bytes int64, wait time.Duration) error {
	return g.reserve(ctx, 1, bytes, wait)
}

func (g *mutexGate) Grow(ctx context.Context, bytes int64, wait time.Duration) error {
	return g.reserve(ctx, 0, bytes, wait)
}

func (g *mutexGate) reserve(ctx context.Context, items int, bytes int64, wait time.Duration) error {
	g.mu.Lock()
	err := g.tryLocked(items, bytes)
	if err != ErrFull || wait <= 0 || g.MaxWaiters != 0 && len(g.queue) >= g.MaxWaiters {
		g.mu.Unlock()
		return err
	}
	w := &mutexWaiter{items: items, bytes: bytes, done: make(chan struct{})}
	at := len(g.queue)
	if items == 0 { // behind the last that grows
		for at = 0; at < len(g.queue) && g.queue[at].items == 0; at++ {
		}
	}
	g.queue = slices.Insert(g.queue, at, w)
	g.mu.Unlock()

	expired := time.NewTimer(wait)
	defer expired.Stop()
	select {
	case <-w.done:
		return w.err
	case <-expired.C:
		err = ErrFull
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.queue {
		if other == w {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			g.grantLocked()
			return err
		}
	}
	return w.err // decided meanwhile
}

func (g *mutexGate) grantLocked() {
	for len(g.queue) > 0 && g.fits(g.queue[0].items, g.queue[0].bytes) {
		g.items += g.queue[0].items
		g.bytes += g.queue[0].bytes
		close(g.queue[0].done)
		g.queue = g.queue[1:]
	}
}

func (g *mutexGate) TryGrow(bytes int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if bytes < 0 || g.closed || len(g.queue) > 0 || bytes > g.Bytes-g.bytes {
		return false
	}
	g.bytes += bytes
	return true
}

func (g *mutexGate) Release(items int, bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if items < 0 || bytes < 0 || items > g.items || bytes > g.bytes {
		panic("released more than reserved")
	}
	g.items -= items
	g.bytes -= bytes
	g.grantLocked()
	close(g.change)
	g.change = make(chan struct{})
}

func (g *mutexGate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, w := range g.queue {
		w.err = ErrClosed
		close(w.done)
	}
	g.queue = nil
}

func (g *mutexGate) InUse() (int, int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.items, g.bytes
}

func (g *mutexGate) Limits() (int, int64) { return g.Items, g.Bytes }

func (g *mutexGate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}

func (g *mutexGate) WaitIdle(ctx context.Context) error {
	for {
		g.mu.Lock()
		idle, change := g.items == 0 && g.bytes == 0, g.change
		g.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
