package faults

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

const (
	wantSamples    = 1000
	sampleInterval = 5 * time.Millisecond
)

// sampler asks a process for its ledger over and over: the terms must add up at every instant, not only when
// nothing moves.
type sampler struct {
	n    atomic.Int64
	once sync.Once
	stop chan struct{}
	done chan struct{}
}

// sample begins to watch the ledger of a process.
func sample(t *testing.T, p *proc.Process) *sampler {
	s := &sampler{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		tick := time.NewTicker(sampleInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-s.stop:
				return
			case <-p.Exited():
				return
			}
			l, err := p.Ledger()
			if err != nil {
				continue // killed, frozen, or not yet listening
			}
			s.n.Add(1)
			if err := l.Balance(); err != nil {
				t.Errorf("sample %d: %v", s.n.Load(), err)
				return
			}
		}
	}()
	t.Cleanup(s.end)
	return s
}

// end stops the samples.
func (s *sampler) end() {
	s.once.Do(func() { close(s.stop) })
	<-s.done
}

// awaitSamples waits until the lives of the trial were asked often enough.
func (tr *trial) awaitSamples() {
	tr.Helper()
	tr.await("enough samples of the ledger", func() bool {
		var n int64
		for _, l := range tr.lives {
			n += l.books.n.Load()
		}
		return n >= wantSamples || tr.Failed()
	})
}
