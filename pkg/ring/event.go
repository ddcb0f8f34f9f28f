package ring

import "sync/atomic"

// event parks goroutines that found nothing to do: consumers while the ring is empty, producers
// while it is full. A token in sem is a level, not a count: "something changed, look again".
//
// A goroutine that would park announces itself, looks once more, and only then receives. The goroutine that
// changes something does it first and loads waiters second. Both sides are sequentially consistent
// atomics, so one of the two sees the other (Dekker): either the look finds the change or the
// changer finds the announcement and leaves a token. One token is enough for all: a changer that finds
// one lying there made its change before, its taker looks afterwards, and a taker that leaves something
// behind sends on.
type event struct {
	waiters atomic.Int32 // goroutines between announce and leave
	sem     chan struct{}
	_       [line]byte
}

func newEvent() event { return event{sem: make(chan struct{}, 1)} }

// announce precedes the look that decides whether to park.
func (e *event) announce() {
	hook()
	e.waiters.Add(1)
	hook()
}

// leave undoes announce after a look that found something.
func (e *event) leave() {
	hook()
	e.waiters.Add(-1)
}

// park waits for a token or for done, and leaves. After true the caller must look again: the token
// may have been the only news of what it now finds. After false it took no token and owes nothing.
func (e *event) park(done <-chan struct{}) bool {
	hook()
	if done == nil { // a receive costs less than a select
		<-e.sem
		e.leave()
		return true
	}
	select {
	case <-e.sem:
		e.leave()
		return true
	case <-done:
		e.leave()
		return false
	}
}

// notify tells one parked goroutine, if there is any. The caller has made its change visible.
func (e *event) notify() {
	hook()
	if e.waiters.Load() != 0 {
		e.wake()
	}
}

func (e *event) wake() {
	select {
	case e.sem <- struct{}{}:
	default: // a token lies there: its taker looks after our change
	}
}
