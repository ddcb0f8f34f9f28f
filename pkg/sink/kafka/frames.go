package kafka

import (
	"errors"
	"sync/atomic"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// frameWriter owns the frames in the spool: it writes them, makes them durable, tells the acks that wait for that, and
// ends those whose batches are settled. Its fields are guarded by core.mu, except the last ones.
type frameWriter struct {
	*core

	triedAt time.Time // when the write or the look that set disk.err ended
	refused int64     // bytes of the batch that found no room
	retryAt time.Time // when the next one may be; later than spoolRetry after triedAt where there was nothing to write
	fullAt  time.Time // when it was last found full, and frames ended since
	ends    int       // how often frames ended

	groups   []group // written, not yet durable
	syncing  bool
	reserved bool // for frames that are placed: one that a worker writes meanwhile would come behind them
	// fastDisk: the last fdatasync took less than fastSync. Workers then commit what they send by themselves.
	fastDisk bool
	lists    [][]waiting // to be used by the next groups
	told     []settled   // the syncer's own
	noSync   bool        // what is written is as durable as it gets: Sync does not wait for a disk

	behindSince    time.Time // DoneSoon has left something to be written down; zero: nothing
	writingCursors bool      // and that is being done

	syncs    atomic.Int64
	syncKick chan struct{} // wakes runSyncer
	watchdog watchdog

	// writing is held by the goroutine that writes frames, and guards what follows.
	writing slot
	scratch recordbatch.Scratch
	frames  []diskqueue.Write
	wire    [][]byte // of the frames

	work []*batch // the spooler's own
}

// bareHead is the first batch without a frame among those that go before the frames on disk: the one in doubt and the
// parts. nil: there is none, or frames are on disk already. Then it goes without: a frame behind those would end them
// when it ends.
func (l *lane) bareHead() *batch {
	if l.disk.any {
		return nil
	}
	if l.head != nil && l.head.unframed() {
		return l.head
	}
	for _, b := range l.children {
		if b.unframed() {
			return b
		}
	}
	return nil
}

// write gives the claimed batches frames, in order, up to the first error; what is left is not claimed any
// more. With SettleOnDisk the acks of a batch are told when Kafka has it or when the group is durable. The lock is free.
func (s *frameWriter) write(work []*batch) (g group, err error) {
	if !s.writing.lockUnless(s.watchdog.untilHangs()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, b := range work {
			s.unclaimLocked(b)
		}
		clear(work)
		return g, errDiskHangs // another one's write does
	}
	defer s.writing.Unlock()
	s.mu.Lock()
	ends := s.ends
	for _, b := range work {
		b.among = b.lane.among()
	}
	s.mu.Unlock()
	var refused int64
	for i := 0; i < len(work); {
		k, n := len(work)-i, 0
		if err == nil {
			k = s.prepareFrames(work[i:])
			err = s.onDisk(func() (err error) { n, err = s.disk.sp.Append(s.frames); return err })
			if err != nil && n < len(s.frames) {
				refused = 0
				for _, piece := range s.frames[n].Batch {
					refused += int64(len(piece))
				}
			}
			if errors.Is(err, diskqueue.ErrFull) && s.cfg.SpoolFull == SpoolFullDropOldest && s.dropOldest() {
				k, err = n, nil
			}
		}
		s.mu.Lock()
		for j, b := range work[i : i+k] {
			if j < n {
				s.framedLocked(b, s.frames[j].Pos, &g)
			}
			s.unclaimLocked(b)
		}
		s.mu.Unlock()
		clear(work[i : i+k])
		clear(s.frames)
		clear(s.wire)
		i += k
	}
	s.mu.Lock()
	if isFull(err) && ends != s.ends {
		wake(s.disk.kick) // frames have ended meanwhile: that it was full means nothing any more
	} else {
		s.wroteLocked(err)
		s.refused = refused
	}
	s.mu.Unlock()
	return g, err
}

// unclaimLocked gives b back, whose frame was written or not.
func (s *frameWriter) unclaimLocked(b *batch) {
	l := b.lane
	b.writing = false
	if b.ackedWhileWriting {
		s.settleAnsweredLocked(b)
	}
	l.onIdle()
}

// maxFramesBytes bounds what is written before the acks that wait for it are told; one frame may be larger.
const maxFramesBytes = 1 << 20

// prepareFrames makes the frames of the first of work, and returns of how many. They are ours while they are
// claimed.
func (s *frameWriter) prepareFrames(work []*batch) (n int) {
	s.frames, s.wire = s.frames[:0], s.wire[:0]
	bytes := 0
	for _, b := range work {
		if bytes += b.rb.Size(); n > 0 && bytes > maxFramesBytes {
			break
		}
		s.compress(b, &s.scratch)
		if !b.bytesFinal {
			b.rb.SealUnstamped()
		}
		at := len(s.wire)
		s.wire = b.rb.Parts(s.wire)
		w := diskqueue.Write{
			Queue:    b.lane.disk.q,
			Meta:     diskqueue.Meta{Events: int32(b.events), Records: int32(b.rb.Count()), FirstTimestamp: b.rb.FirstTimestamp(), Partitions: b.among},
			Batch:    s.wire[at:],
			Checksum: b.rb.WireChecksum(),
		}
		if b.pins != nil {
			w.Meta.Replaces = b.pins.pos
		}
		if b.bytesFinal {
			w.InDoubt = true
			s.mu.Lock() // a worker may send it again
			w.Stamp = b.spoolStamp()
			s.mu.Unlock()
		}
		s.frames = append(s.frames, w)
		n++
	}
	return n
}

// framedLocked notes that b has a frame.
func (s *frameWriter) framedLocked(b *batch, pos diskqueue.Pos, g *group) {
	b.pos = pos
	s.spilledFrames.Add(1)
	l := b.lane
	if f := l.disk.framed; f < len(l.queue) && l.queue[f] == b {
		l.disk.framed++
	}
	g.add(pos)
	if s.cfg.Settle != SettleOnDisk {
		s.later(b.unpin(nil)) // its frame is as safe as the one that it came from
	} else {
		if g.waits == nil && len(s.lists) > 0 {
			g.waits = s.lists[len(s.lists)-1]
			s.lists = s.lists[:len(s.lists)-1]
		}
		if p := b.parent; len(b.acks) > 0 || b.pins != nil || p != nil && p.toFrame > 0 { // there are its acks
			g.waits = append(g.waits, waiting{b, b.life})
		}
	}
}
