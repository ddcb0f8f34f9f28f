package pipeline

import (
	"sync"
	"sync/atomic"
	"time"

	"functiongraph-ingest/pkg/sink"
)

const (
	// lookEvery is how often it is asked whether this is still the machine that it was, while something comes; and how
	// often the identity is renewed at most: three events tell of one restoration.
	lookEvery = time.Second
	// clockJump is how far the wall clock may move against the monotonic one, which stands still in a snapshot.
	clockJump = 2 * time.Second
)

// identity notices that this process may be a copy of another one, restored from a snapshot: then what must be unique
// is renewed.
type identity struct {
	machine func() string // nil: it is not asked
	renewed func()        // nil: nothing else is to be renewed
	looked  atomic.Int64  // when, in milliseconds
	epoch   time.Time     // where the monotonic readings begin

	mu      sync.Mutex
	known   string
	skew    time.Duration // wall clock minus monotonic clock
	renewal time.Time
}

func newIdentity(deps *Deps) *identity {
	i := &identity{machine: deps.Machine, renewed: deps.Renewed, epoch: time.Now()}
	i.changed(i.epoch)
	return i
}

// look renews the identity if this is another machine, or time was left out. at is now, in milliseconds. It costs one
// comparison while that is less than lookEvery after the last look.
func (p *Pipeline) look(at int64) {
	i := p.identity
	last := i.looked.Load()
	if ago := at - last; max(ago, -ago) < lookEvery.Milliseconds() || !i.looked.CompareAndSwap(last, at) {
		return
	}
	if now := time.Now(); i.changed(now) {
		p.renew(now, "machine")
	}
}

// changed reports whether the machine is another one than at the last call, or its clock has jumped.
func (i *identity) changed(now time.Time) bool {
	if i.machine == nil {
		return false
	}
	machine := i.machine()
	skew := time.Duration(now.UnixNano()) - now.Sub(i.epoch)
	i.mu.Lock()
	defer i.mu.Unlock()
	first := i.skew == 0
	other := machine != i.known || skew-i.skew > clockJump
	i.known, i.skew = machine, skew
	return other && !first
}

// renew gives up what a copy of this process has as well.
func (p *Pipeline) renew(now time.Time, why string) {
	i := p.identity
	i.mu.Lock()
	since := now.Round(0).Sub(i.renewal) // by the wall clock: the monotonic one may stand still in a snapshot
	if since >= 0 && since < lookEvery {
		i.mu.Unlock()
		return
	}
	i.renewal = now.Round(0)
	i.mu.Unlock()
	if r, ok := p.sink.(sink.Renewer); ok {
		r.Renew()
	}
	p.server.Renew()
	if i.renewed != nil {
		i.renewed()
	}
	p.log.Info("this process may be a copy, restored from a snapshot: producer id, sequence of numbers and ids of bodies are renewed", "told-by", why)
}
