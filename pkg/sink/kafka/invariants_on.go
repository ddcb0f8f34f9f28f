//go:build invariants

package kafka

import (
	"fmt"
	"slices"
	"sync"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// lock is core.mu. It checks what it guards each time it is let go.
type lock struct {
	sync.Mutex
	check func() error // nil: nothing
}

func (l *lock) Unlock() {
	if l.check != nil {
		if err := l.check(); err != nil {
			panic("kafka: " + err.Error())
		}
	}
	l.Mutex.Unlock()
}

// observed is the state in which a batch was seen when the lock was let go last.
type observed struct {
	phase phase // 0: it was not
	home  home
}

// watchState has the lock check what it guards.
func (s *core) watchState() { s.mu.check = s.check }

// check reports what is wrong with the state of the batches, the lanes or the ledger.
func (s *core) check() error {
	if s.ctx.Err() != nil || s.atEnd.dropped != nil {
		return nil // the end takes apart what is left
	}
	var events int64
	overflowing := 0
	batches := map[*topic]int{}
	private := map[*topic]int64{}
	for l := range s.lanes() {
		if l.disk.any {
			overflowing++
		}
		if l.busy && l.head == nil {
			return fmt.Errorf("partition %d of %s has a request without a batch", l.partition, l.topic.name)
		}
		if err := l.checkOrder(); err != nil {
			return fmt.Errorf("partition %d of %s: %w", l.partition, l.topic.name, err)
		}
		for b, p := range l.phases() {
			if err := b.checkStep(p); err != nil {
				return fmt.Errorf("partition %d of %s: a batch of %d events at frame %d: %w", l.partition, l.topic.name, b.events, b.pos, err)
			}
			// One that is on disk only is of a partition that is no more: its records are placed without it.
			if b.stamped && b != l.head && b.home() != homeDisk {
				return fmt.Errorf("partition %d of %s: a batch that is not the one in doubt has a stamp", l.partition, l.topic.name)
			}
			if b.inMemory() {
				events += int64(b.events)
				batches[l.topic]++
				private[l.topic] += b.private
			}
		}
	}
	if events != s.count.inFlight {
		return fmt.Errorf("batches in memory have %d events, the ledger has %d in flight", events, s.count.inFlight)
	}
	if overflowing != s.disk.overflowing {
		return fmt.Errorf("%d partitions have frames on disk only, %d are counted", overflowing, s.disk.overflowing)
	}
	if s.disk.holding && s.carries() {
		return fmt.Errorf("nothing is sent while a frame is carried, so it never arrives")
	}
	for t, n := range batches {
		if n > t.batches || private[t] > t.private {
			return fmt.Errorf("topic %s has %d batches with %d bytes of their own, %d and %d are counted", t.name, n, private[t], t.batches, t.private)
		}
	}
	return nil
}

// phases are the lane's batches except those on disk that no source waits for, each with its phase, in their order.
func (l *lane) phases() func(yield func(*batch, phase) bool) {
	return func(yield func(*batch, phase) bool) {
		if b := l.head; b != nil {
			p := phaseInDoubt
			if l.busy {
				p = phaseSending
			}
			if !yield(b, p) {
				return
			}
		}
		for _, list := range [][]*batch{l.children, l.disk.spilled, l.queue} {
			for _, b := range list {
				if !yield(b, phaseQueued) {
					return
				}
			}
		}
		if l.open != nil {
			yield(l.open, phaseOpen)
		}
	}
}

// checkStep checks that b may be in phase p with the home that it has, and may have come there from where it was.
func (b *batch) checkStep(p phase) error {
	was, h := b.observed, b.home()
	b.observed = observed{p, h}
	if p.homes()&h == 0 {
		return fmt.Errorf("phase %d with home %d", p, h)
	}
	if b.writing && b.rb == nil || b.loaded && b.pos == 0 || b.bytesFinal && !b.compressed || b.ackedWhileWriting {
		return fmt.Errorf("writing %v without bytes, loaded %v without a frame, final bytes %v and not compressed, or acknowledged while writing %v", b.writing, b.loaded, b.bytesFinal, b.ackedWhileWriting)
	}
	if was.phase == 0 {
		return nil
	}
	if was.phase.next()&p == 0 || was.home.next()&h == 0 {
		return fmt.Errorf("from phase %d, home %d to phase %d, home %d", was.phase, was.home, p, h)
	}
	return nil
}

// checkOrder checks that frames are a prefix of the lane, and that their order on disk is the lane's.
func (l *lane) checkOrder() error {
	last, bare := diskqueue.Pos(0), false
	for b := range l.phases() {
		switch {
		case b.pos == 0:
			before := b == l.head || l.disk.any && slices.Contains(l.children, b) // it may go without: see bareHead
			bare = bare || b.unframed() && !before && b != l.open
		case bare:
			return fmt.Errorf("frame %d behind a batch that has none", b.pos)
		case b.pos <= last:
			return fmt.Errorf("frame %d behind frame %d", b.pos, last)
		default:
			last = b.pos
		}
	}
	return nil
}
