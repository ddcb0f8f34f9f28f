package ring

import (
	"context"
	"time"
)

// frozenAfter is how much later than due a deadline must be noticed to be taken for a freeze of the
// whole process (a function instance is frozen between invocations) and not for a busy scheduler.
const frozenAfter = 100 * time.Millisecond

// outcome is what a waiter was told. Written under the gate's mutex before the wake-up is sent.
type outcome uint8

const (
	pending outcome = iota
	granted         // the credits are already its own
	refused         // the gate was closed
)

// waiter is one goroutine in Reserve. Nodes are reused, with their channel and their timer.
type waiter struct {
	need       uint64 // items and bytes, in the form of the word
	next, prev *waiter
	outcome    outcome
	wake       chan struct{} // room for one: the sender never blocks
	timer      *time.Timer
}

// waitList is the waiters, guarded by the gate's mutex: first those that hold an item and wait in Grow, then those
// in Reserve, each in order of arrival.
type waitList struct {
	first, last *waiter
	holder      *waiter // the last that holds an item; nil: none
	n           int
}

func (q *waitList) push(w *waiter) {
	w.prev = q.last
	if w.need&itemMask == 0 {
		w.prev = q.holder
		q.holder = w
	}
	if w.prev == nil {
		w.next, q.first = q.first, w
	} else {
		w.next, w.prev.next = w.prev.next, w
	}
	if w.next == nil {
		q.last = w
	} else {
		w.next.prev = w
	}
	q.n++
}

// nextIs reports whether a newcomer that needs need would be the first.
func (q *waitList) nextIs(need uint64) bool {
	return q.first == nil || need&itemMask == 0 && q.holder == nil
}

func (q *waitList) remove(w *waiter) {
	if q.holder == w {
		q.holder = w.prev
	}
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.next, w.prev = nil, nil
	q.n--
}

// Reserve takes one item and bytes of the budget, and waits up to wait for them in order of arrival.
// wait <= 0 is [Gate.TryReserve]. ErrFull: the time is over, or MaxWaiters others wait already.
// ErrTooLarge, ErrClosed and ctx.Err() as their names say. Give it a context that lives as long as
// the service, not one made per request: the deadline is wait. It looks at ctx only when it must wait.
//
// A reservation that was granted while the deadline or ctx fired is a success. When a deadline is
// noticed more than 100 ms late the process was frozen, and those who hold credits had no chance to
// release them either; then Reserve keeps its place for one more GateConfig.Grace.
func (g *Gate) Reserve(ctx context.Context, bytes int64, wait time.Duration) error {
	err := g.TryReserve(bytes)
	if err != ErrFull || wait <= 0 {
		return err
	}
	return g.queueUp(ctx, itemOne+uint64(bytes), wait)
}

// Grow is [Gate.TryGrow] for a caller that waits up to wait for the bytes. Callers of Grow are served before those
// of Reserve, because what they hold comes free only after they were served. The errors are those of Reserve.
//
// Holders that wait for bytes which other waiting holders hold wait for each other. The caller must rule that
// out: all that is held by those that may be in Grow at the same time, and the maximum that one of them asks for,
// must fit together, and all other holders must come to an end without the gate.
func (g *Gate) Grow(ctx context.Context, bytes int64, wait time.Duration) error {
	switch {
	case uint64(bytes) > g.maxBytes:
		return ErrTooLarge
	case g.TryGrow(bytes):
		return nil
	case g.word.Load()&flagClosed != 0:
		return ErrClosed
	case wait <= 0:
		return ErrFull
	}
	return g.queueUp(ctx, uint64(bytes), wait)
}

// queueUp waits for need, in the form of the word.
func (g *Gate) queueUp(ctx context.Context, need uint64, wait time.Duration) error {
	w, err := g.enqueue(need)
	if w == nil {
		return err
	}
	return g.await(ctx, w, wait)
}

// enqueue looks once more and joins the queue. A nil waiter means that it is decided: err.
func (g *Gate) enqueue(need uint64) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.word.Load()
	if u&flagClosed != 0 { // stable: Close holds the mutex
		return nil, ErrClosed
	}
	if g.maxWaiters != 0 && g.queue.n >= g.maxWaiters {
		return nil, ErrFull
	}
	// The flag first, then the look. A release that misses the flag came before it in the order of
	// the word, and its credits are in u; one that sees it comes for the mutex and finds us queued.
	u = g.word.Or(flagQueued) | flagQueued
	hook()
	if g.queue.nextIs(need) {
		for g.fits(u, need) {
			after := u + need
			if g.queue.first == nil {
				after &^= flagQueued
			}
			if g.word.CompareAndSwap(u, after) {
				return nil, nil
			}
			u = g.word.Load() // only releases and WaitIdle: the flag keeps others out
		}
	}
	w, _ := g.pool.Get().(*waiter)
	if w == nil {
		w = &waiter{wake: make(chan struct{}, 1)}
	}
	w.need, w.outcome = need, pending
	g.queue.push(w)
	return w, nil
}

// await waits for the outcome and puts the node back.
func (g *Gate) await(ctx context.Context, w *waiter, wait time.Duration) error {
	due := g.now().Add(wait)
	if w.timer == nil {
		w.timer = time.NewTimer(wait)
	} else {
		w.timer.Reset(wait)
	}
	grace := g.grace
	for {
		select {
		case <-w.wake:
			return g.settle(w)
		case <-ctx.Done():
			return g.giveUp(w, ctx.Err())
		case <-w.timer.C:
			if grace > 0 && g.now().Sub(due) > frozenAfter {
				w.timer.Reset(grace)
				grace = 0
				continue
			}
			return g.giveUp(w, ErrFull)
		}
	}
}

// giveUp leaves the queue with err, unless the outcome came first.
func (g *Gate) giveUp(w *waiter, err error) error {
	hook()
	g.mu.Lock()
	if w.outcome == pending {
		g.dequeueLocked(w, pending)
		g.grantLocked() // we may have been the large one at the head that held back smaller ones
		g.mu.Unlock()
		g.recycle(w)
		return err
	}
	g.mu.Unlock()
	<-w.wake // sent before the mutex was given up: the credits are ours, dropping them would leak them
	return g.settle(w)
}

func (g *Gate) settle(w *waiter) error {
	o := w.outcome
	g.recycle(w)
	if o == refused {
		return ErrClosed
	}
	return nil
}

func (g *Gate) recycle(w *waiter) {
	w.timer.Stop() // from Go 1.23 on nothing stale remains in its channel
	g.pool.Put(w)
}

// grantLocked gives credits to the head of the queue for as long as the head fits. What does not fit
// waits, and everybody behind it too: that is what keeps a large body from starving.
func (g *Gate) grantLocked() {
	for w := g.queue.first; w != nil; w = g.queue.first {
		u := g.word.Load()
		if !g.fits(u, w.need) {
			return
		}
		hook()
		if g.word.CompareAndSwap(u, u+w.need) {
			g.dequeueLocked(w, granted)
		}
	}
}

// dequeueLocked takes w out of the queue and tells it the outcome; pending: it leaves by itself.
func (g *Gate) dequeueLocked(w *waiter, o outcome) {
	g.queue.remove(w)
	if g.queue.first == nil {
		g.word.And(^flagQueued) // no waiter can join meanwhile: that takes the mutex
	}
	if o != pending {
		w.outcome = o
		w.wake <- struct{}{}
	}
}
