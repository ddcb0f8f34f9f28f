package listen

import "sync/atomic"

// drainBit, in the word of an admission: it is closed.
const drainBit = int64(1) << 62

// admission counts the handlers between reservation and push, and closes. The count and the closed
// bit share one word, so a handler either is seen by the drain or sees it.
type admission struct {
	_    [64]byte
	word atomic.Int64
	_    [56]byte
	once atomic.Bool
	idle chan struct{} // closed when the word is closed and the count is 0
}

func (a *admission) init() { a.idle = make(chan struct{}) }

// enter is false when draining; then leave must not be called.
func (a *admission) enter() bool {
	if a.word.Add(1)&drainBit == 0 {
		return true
	}
	a.leave()
	return false
}

// leave ends what enter began.
func (a *admission) leave() {
	if a.word.Add(-1) == drainBit {
		a.signal()
	}
}

func (a *admission) close() {
	if a.word.Or(drainBit)&^drainBit == 0 {
		a.signal()
	}
}

func (a *admission) closed() bool { return a.word.Load()&drainBit != 0 }

// signal may be called again by an enter that was too late.
func (a *admission) signal() {
	if a.once.CompareAndSwap(false, true) {
		close(a.idle)
	}
}
