package kafka

import (
	"sync/atomic"
	"time"
)

// bell wakes the reporter. Goroutines that send, write or ask ring it when something has changed that an operator may
// have to know; they need not know the reporter.
type bell struct {
	kick  chan struct{}
	timer *time.Timer
	armed atomic.Bool
	quiet bool // the trouble is that there is no answer: the next one changes that. Guarded by core.mu
}

func newBell() bell { return bell{kick: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)} }

// ring has the reporter look now.
func (b *bell) ring() { wake(b.kick) }

// watch makes sure that the reporter looks whether a request that is sent now gets its answer. It costs one load while
// requests follow each other.
func (b *bell) watch() {
	if !b.armed.Load() && b.armed.CompareAndSwap(false, true) {
		b.timer.Reset(warnAfter)
	}
}

// wake wakes the receiver of a channel with room for one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
