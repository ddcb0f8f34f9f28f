package kafka

import (
	"sync/atomic"
	"time"
)

// wants is what the rest of the sink asks of the steward. Guarded by core.mu, except kick and resting.
type wants struct {
	kick    chan struct{} // wakes the steward
	resting atomic.Bool   // the steward sleeps long because nothing waits: stir ends it

	refresh   bool // the cached leaders are wrong
	producer  bool // a new producer id
	deadTopic bool // there is a first dead letter

	deadAgain time.Time // when to try again to create its topic
}

func (s *wants) nudge() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// stir ends a rest. The caller holds s.mu, so that its event is there either before the steward asks
// whether something waits, or while it rests.
func (s *wants) wakeIdle() {
	if s.resting.Load() && s.resting.CompareAndSwap(true, false) {
		s.nudge()
	}
}

func (s *wants) refreshSoon() { s.refresh = true; s.nudge() }

// wantDeadTopic makes the steward look after the dead-letter topic from the first dead letter on.
func (s *wants) deadTopicSoon() {
	if !s.deadTopic {
		s.deadTopic = true
		s.nudge()
	}
}
