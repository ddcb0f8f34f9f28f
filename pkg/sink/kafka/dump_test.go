package kafka

import "fmt"

func dump(s *Sink) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.spooler
	out := fmt.Sprintf("closed %v holding %v err %v dirty %d syncing %v pressed %v overflowing %d batches %d/%d waiting %d pool %d/%d grow %d held %d gen %d\n", s.closed, s.disk.holding, s.disk.err, len(p.committer.dirty), p.writer.syncing, p.spiller.pressed, s.disk.overflowing, s.topics[0].batches, s.dead.batches, s.waiting, s.pool.InUse(), s.pool.Total(), s.topics[0].grow, s.dead.held, s.current.gen)
	b := func(b *batch) string {
		if b == nil {
			return "-"
		}
		return fmt.Sprintf("{pos %d size %d att %d final %v writing %v ans %v root %v parts %d ev %d half %v}", b.pos, b.size, b.attempts, b.bytesFinal, b.writing, b.ackedWhileWriting, b.coveredBy != nil, b.unsettledParts, b.events, b.child)
	}
	for l := range s.lanes() {
		if l.idle() && !l.disk.closing && l.disk.splitParent == nil {
			continue
		}
		out += fmt.Sprintf("lane dead=%v %d broker %v busy %v any %v end %d framed %d queue %d parts %d open %v dirty %v closing %v apart %v stamps %+v failures %d doubt %s", l.topic.dead, l.partition, l.broker != nil, l.busy, l.disk.any, l.disk.end, l.disk.framed, len(l.queue), len(l.children), l.open != nil, l.disk.dirty, l.disk.closing, b(l.disk.splitParent), l.stamps, l.failures, b(l.head))
		for _, q := range l.queue {
			out += " Q" + b(q)
		}
		for _, q := range l.children {
			out += " P" + b(q)
		}
		out += "\n"
	}
	return out
}
