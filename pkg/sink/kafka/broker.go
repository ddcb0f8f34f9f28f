package kafka

import "time"

// broker is one broker that leads some of our lanes.
type broker struct {
	core  *core
	id    int32
	lanes []*lane       // that it leads; guarded by core.mu like all below
	next  int           // lane to start the next collection at, so that a full request is fair
	wake  chan struct{} // "look again"
	turn  slot          // held by the worker that collects or waits for something to collect

	parked bool      // the worker whose turn it is sleeps
	wakeAt time.Time // when it wakes by itself; zero: only when signalled

	bound requestBound
	// silentSince is when the first of the requests in a row ended without an answer; zero: the last one had one. A
	// lane that begins to fail now could not have been served since then, so it need not prove that anew.
	silentSince time.Time
	gone        bool // the cluster has it no more; its workers end

	throttledSince time.Time // the first of the answers in a row that asked for a pause; zero: the last one did not
	pausedUntil    time.Time // the broker wants no produce request before
}

// throttle notes how long the broker wants to be left alone (a quota). Batches wait in their lanes meanwhile, where the
// spool finds them, and not in requests, whose time would run out.
func (b *broker) throttle(d time.Duration, now time.Time) {
	if d <= 0 {
		b.throttledSince = time.Time{}
		return
	}
	b.core.throttled += d
	if until := now.Add(d); until.After(b.pausedUntil) {
		b.pausedUntil = until
	}
	if b.throttledSince.IsZero() {
		b.throttledSince = now
	}
	b.core.changes.watch()
}

// signal wakes the worker whose turn it is, if it sleeps.
func (b *broker) signal() {
	if b.parked {
		b.parked = false
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}
