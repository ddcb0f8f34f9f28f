// Package invocation knows which invocations of the function are open, so that events do not wait for
// company when no invocation is left to send any: an instance may be frozen as soon as its last invocation
// has ended.
package invocation

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// maxOpen bounds the memory, at about 40 bytes each. An instance serves 1,000 at once; the rest is for
	// those whose end was lost.
	maxOpen = 4096
	// expiry is when an invocation whose end never came counts as ended. What a lost end costs until
	// then is that events wait for their linger.
	expiry = 15 * time.Minute
)

// Tracker is the set of open invocations. All methods are safe for concurrent use. It keeps hashes of
// their ids: two ids with one hash would make an early flush, and nothing worse.
type Tracker struct {
	seed maphash.Seed

	mu     sync.Mutex
	open   map[uint64]int64 // when each was opened, in milliseconds
	oldest int64            // no open one is older

	untracked, expired int64
}

// New returns an empty tracker.
func New() *Tracker { return &Tracker{seed: maphash.MakeSeed(), open: map[uint64]int64{}} }

// Start opens the invocation id at now, in milliseconds. It may be told more than once: by the invocation
// event and by platform.start. An empty id is ignored.
func (t *Tracker) Start(id []byte, now int64) {
	if len(id) == 0 {
		return
	}
	h := maphash.Bytes(t.seed, id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.open[h]; ok {
		return
	}
	if len(t.open) >= maxOpen {
		t.sweepLocked(now)
	}
	if len(t.open) >= maxOpen {
		t.untracked++
		return
	}
	if len(t.open) == 0 {
		t.oldest = now
	}
	t.open[h] = now
}

// End closes the invocation id. It need not be open: its start may be lost, and each invocation ends twice
// (platform.runtimeDone and platform.report).
func (t *Tracker) End(id []byte) {
	h := maphash.Bytes(t.seed, id)
	t.mu.Lock()
	delete(t.open, h)
	t.mu.Unlock()
}

// Quiet reports whether no invocation is open at now, in milliseconds.
func (t *Tracker) Quiet(now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweepLocked(now)
	return len(t.open) == 0
}

// Stats are figures for metrics.
type Stats struct {
	Open      int   // now
	Untracked int64 // starts beyond the bound
	Expired   int64 // ends that never came
}

// Stats returns the figures.
func (t *Tracker) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{Open: len(t.open), Untracked: t.untracked, Expired: t.expired}
}

// sweepLocked ends what is too old. It looks at all of them only when the oldest may be: between two
// looks that found nothing, expiry passes.
func (t *Tracker) sweepLocked(now int64) {
	old := now - expiry.Milliseconds()
	if len(t.open) == 0 || t.oldest > old {
		return
	}
	t.oldest = now
	for h, at := range t.open {
		if at <= old {
			delete(t.open, h)
			t.expired++
		} else {
			t.oldest = min(t.oldest, at)
		}
	}
}
