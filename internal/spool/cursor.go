package spool

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	cursorMagic       = "ingcursr"
	slotMagic         = "\xf5igc"
	cursorCopyBytes   = 512 // a disk writes a sector whole or not at all
	cursorHeaderBytes = cursorCopyBytes
	slotBytes         = 2 * cursorCopyBytes
	slotTopic         = 72  // where the topic starts
	slotCluster       = 384 // where the length of the cluster's id stands, and then the id
	maxClusterBytes   = 127
	noSlot            = -1
	maxBootBytes      = 40

	stateOpen   = 1
	stateClosed = 2 // the closing mark
)

// cursor is one partition's progress. It lives in a slot of the cursor file: two copies of one sector
// each, written in turn, so a write that is cut short leaves the former one. Guarded by cursors.mu, except
// progress and behind, which cursors.state guards: the end of a frame does not wait for a write.
type cursor struct {
	slot int // noSlot: none yet
	progress
	former  progress // what the newer copy in the file says
	laid    progress // what is being written
	damaged bool     // a copy could not be read when the file was loaded
	behind  bool     // what is in the file is older
}

// progress is what a copy of a slot says.
type progress struct {
	seq     uint64
	done    Pos // frames up to here are done
	doubt   Pos // 0: none
	stamp   Stamp
	suspect Pos // see Queue.Suspect; 0: none
}

func (c *progress) put(p []byte, topic string, id int32) {
	p = p[:cursorCopyBytes]
	clear(p)
	le := binary.LittleEndian
	copy(p[:], slotMagic)
	le.PutUint64(p[8:], c.seq)
	le.PutUint64(p[16:], uint64(c.done))
	le.PutUint64(p[24:], uint64(c.doubt))
	le.PutUint64(p[32:], uint64(c.stamp.ProducerID))
	le.PutUint64(p[40:], uint64(c.stamp.FirstSent))
	le.PutUint32(p[48:], uint32(c.stamp.BaseSequence))
	le.PutUint16(p[52:], uint16(c.stamp.Epoch))
	le.PutUint16(p[54:], uint16(len(topic)))
	le.PutUint32(p[56:], uint32(id))
	le.PutUint64(p[64:], uint64(c.suspect))
	copy(p[slotTopic:], topic)
	p[slotCluster] = byte(copy(p[slotCluster+1:][:maxClusterBytes], c.stamp.Cluster))
	le.PutUint32(p[4:], checksum(p[8:]))
}

// parse reports whether p is an undamaged copy, and whose. topic is a view into p.
func (c *cursor) parse(p []byte) (topic []byte, id int32, ok bool) {
	le := binary.LittleEndian
	if len(p) < cursorCopyBytes || string(p[:4]) != slotMagic || le.Uint32(p[4:]) != checksum(p[8:cursorCopyBytes]) {
		return nil, 0, false
	}
	n := int(le.Uint16(p[54:]))
	if n > maxTopicBytes {
		return nil, 0, false
	}
	c.progress = progress{
		seq: le.Uint64(p[8:]), done: Pos(le.Uint64(p[16:])), doubt: Pos(le.Uint64(p[24:])),
		stamp: Stamp{
			ProducerID: int64(le.Uint64(p[32:])), FirstSent: int64(le.Uint64(p[40:])),
			BaseSequence: int32(le.Uint32(p[48:])), Epoch: int16(le.Uint16(p[52:])),
			Cluster: string(p[slotCluster+1:][:min(int(p[slotCluster]), maxClusterBytes)]),
		},
		suspect: Pos(le.Uint64(p[64:])),
	}
	return p[slotTopic : slotTopic+n], int32(le.Uint32(p[56:])), true
}

// cursors is the cursor file.
type cursors struct {
	fs   FS
	name string

	boot string

	mu     slot       // held over writes
	state  sync.Mutex // never held over I/O
	file   File       // nil: it could not be made; the next write tries again
	slots  int
	lost   atomic.Int64 // read without mu: a disk that hangs must not hold up who only counts
	failed atomic.Int64
	closed bool
	open   bool // it is marked as open
	stale  bool // another run of the machine left it without the closing mark
	buf    [cursorCopyBytes]byte
	vec    [1][]byte

	sending []*Queue
	slotBuf []byte
}

func slotOffset(slot int, seq uint64) int64 {
	return cursorHeaderBytes + int64(slot)*slotBytes + int64(seq&1)*cursorCopyBytes
}

// begin gives a queue its slot before its first frame, so that a queue without one has lost it.
func (c *cursors) begin(q *Queue) {
	c.state.Lock()
	begun := q.cursor.seq != 0
	c.state.Unlock()
	if begun {
		return // nor does it wait for the write of another cursor
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.cursor.seq == 0 {
		_ = c.writeLocked(q) // counted; Append goes on: at worst the start is called suspect
	}
}

// done advances the cursor of q to pos, for the next write.
func (c *cursors) done(q *Queue, pos Pos) {
	c.state.Lock()
	defer c.state.Unlock()
	if pos <= q.cursor.done {
		return
	}
	q.cursor.done, q.cursor.behind = pos, true
	if q.cursor.doubt <= pos {
		q.cursor.doubt, q.cursor.stamp = 0, Stamp{}
	}
	if q.cursor.suspect <= pos {
		q.cursor.suspect = 0
	}
}

// isBehind reports whether the file has an older cursor of q.
func (c *cursors) isBehind(q *Queue) bool {
	c.state.Lock()
	defer c.state.Unlock()
	return q.cursor.behind
}

// WriteCursor writes the queue's cursor if DoneSoon left it behind.
func (q *Queue) WriteCursor() error {
	c := &q.s.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isBehind(q) {
		return nil
	}
	return c.writeLocked(q)
}

// WriteCursors writes the cursors that DoneSoon left behind, and makes all durable if DoneDurably waits for that.
func (s *Spool) WriteCursors() error {
	s.removeEnded()
	c := &s.cursors
	c.mu.Lock()
	all := s.takeHeld()
	queues := s.queuesNow() // later: whose segments are held is among them
	var errs []error
	for _, q := range queues {
		if c.isBehind(q) {
			errs = append(errs, c.writeLocked(q))
		}
	}
	var synced error
	if len(all) > 0 && c.file != nil && !c.closed {
		if synced = c.file.Sync(); synced != nil {
			c.rewrite(queues)
		}
	}
	done := s.letGo(all, synced == nil)
	c.mu.Unlock()
	for _, g := range done {
		s.removeSegment(g)
	}
	return errors.Join(append(errs, synced)...)
}

// rewrite has all cursors written again: the kernel drops what it could not write, and tells that once.
func (c *cursors) rewrite(queues []*Queue) {
	c.state.Lock()
	defer c.state.Unlock()
	for _, q := range queues {
		q.cursor.behind = q.cursor.behind || q.cursor.seq > 0
	}
}

// queuesNow returns all queues.
func (s *Spool) queuesNow() []*Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// writeAllLocked writes the cursors of queues. Slots that follow each other are written together, with the
// copies that stand between: the same bytes as are there.
func (c *cursors) writeAllLocked(queues []*Queue) error {
	if len(queues) > 1 {
		slices.SortFunc(queues, func(a, b *Queue) int { return a.cursor.slot - b.cursor.slot })
	}
	var errs error
	for len(queues) > 0 {
		n := 1
		for first := queues[0].cursor.slot; first != noSlot && n < min(len(queues), maxSlots) && queues[n].cursor.slot == first+n; {
			n++
		}
		if err := c.writeSlotsLocked(queues[:n]); err != nil {
			errs = errors.Join(errs, err)
		}
		queues = queues[n:]
	}
	return errs
}

// maxSlots is how many slots one write has at most.
const maxSlots = 32

// writeLocked writes q's cursor over the older copy. A copy that was perhaps damaged by a write that
// failed is the one that the next write goes to, so the other one stays good.
func (c *cursors) writeLocked(q *Queue) error {
	one := [1]*Queue{q}
	return c.writeSlotsLocked(one[:])
}

// writeSlotsLocked writes cursors whose slots follow each other, or one.
func (c *cursors) writeSlotsLocked(queues []*Queue) error {
	if c.closed {
		return ErrClosed
	}
	if err := c.beginLocked(); err != nil {
		c.failed.Add(1)
		return err
	}
	first := queues[0]
	if first.cursor.slot == noSlot {
		first.cursor.slot = c.slots
		c.slots++
	}
	c.state.Lock()
	for _, q := range queues {
		q.cursor.seq++
		q.cursor.behind = false
	}
	off := slotOffset(first.cursor.slot, first.cursor.seq)
	if len(queues) == 1 {
		first.cursor.put(c.buf[:], first.topic, first.partition)
		c.vec[0] = c.buf[:]
	} else {
		off = slotOffset(first.cursor.slot, 0)
		c.vec[0] = c.laySlots(queues)
	}
	for _, q := range queues {
		q.cursor.laid = q.cursor.progress
	}
	c.state.Unlock()
	err := c.file.WriteVec(c.vec[:], off)
	c.state.Lock()
	defer c.state.Unlock()
	if err != nil {
		for _, q := range queues {
			q.cursor.seq--
			q.cursor.behind = true
		}
		c.failed.Add(1)
		return err
	}
	for _, q := range queues {
		q.cursor.former = q.cursor.laid
	}
	return nil
}

// laySlots puts both copies of each slot one after the other: the new one, and the one that stays.
func (c *cursors) laySlots(queues []*Queue) []byte {
	if c.slotBuf == nil {
		c.slotBuf = make([]byte, maxSlots*slotBytes)
	}
	for i, q := range queues {
		slot := c.slotBuf[i*slotBytes:][:slotBytes]
		at := int(q.cursor.seq&1) * cursorCopyBytes
		q.cursor.put(slot[at:], q.topic, q.partition)
		if other := slot[cursorCopyBytes-at:]; q.cursor.former.seq != 0 {
			q.cursor.former.put(other, q.topic, q.partition)
		} else {
			clear(other[:cursorCopyBytes])
		}
	}
	return c.slotBuf[:len(queues)*slotBytes]
}

// beginLocked makes the file if need be, and takes the closing mark from it before anything else is
// written: no closing mark may stand above cursors that are not durable.
func (c *cursors) beginLocked() error {
	if c.file == nil {
		file, err := c.fs.Create(c.name)
		if err != nil {
			return err
		}
		c.file = file
		if err := c.fs.SyncDir(filepath.Dir(c.name)); err != nil {
			return err
		}
	}
	if c.open {
		return nil
	}
	err := c.markLocked(stateOpen)
	c.open = err == nil
	return err
}

// markLocked writes the header with a state and makes it durable.
func (c *cursors) markLocked(state uint32) error {
	putCursorHeader(&c.buf, cursorHeader{Version, state, c.boot})
	c.vec[0] = c.buf[:]
	if err := c.file.WriteVec(c.vec[:], 0); err != nil {
		return err
	}
	return c.file.Sync()
}

// cursorHeader is the start of the cursor file.
type cursorHeader struct {
	version uint32
	state   uint32
	boot    string
}

func putCursorHeader(p *[cursorHeaderBytes]byte, h cursorHeader) {
	clear(p[:])
	copy(p[:], cursorMagic)
	binary.LittleEndian.PutUint32(p[12:], h.version)
	binary.LittleEndian.PutUint32(p[16:], h.state)
	p[20] = byte(copy(p[24:24+maxBootBytes], h.boot))
	binary.LittleEndian.PutUint32(p[8:], checksum(p[12:]))
}

// parse reports whether p is an undamaged header of any version.
func (h *cursorHeader) parse(p []byte) bool {
	if len(p) < cursorHeaderBytes || string(p[:8]) != cursorMagic ||
		binary.LittleEndian.Uint32(p[8:]) != checksum(p[12:cursorHeaderBytes]) {
		return false
	}
	h.version, h.state = binary.LittleEndian.Uint32(p[12:]), binary.LittleEndian.Uint32(p[16:])
	h.boot = string(p[24 : 24+min(int(p[20]), maxBootBytes)])
	return true
}

// close leaves the closing mark, if all cursors are written.
func (c *cursors) close(written bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.file == nil {
		return nil
	}
	err := c.file.Sync()
	if err == nil && written && c.open {
		err = c.markLocked(stateClosed)
	}
	return errors.Join(err, c.file.Close())
}

func (c *cursors) stats() (lost, failed int64) {
	return c.lost.Load(), c.failed.Load()
}

// Sending notes, before its first send, that the frame at pos goes out under a stamp. After a kill it is
// the batch in doubt. It is one write into the page cache; an error means that after a kill the frame
// would be taken for one that was never sent.
func (q *Queue) Sending(pos Pos, st Stamp) error {
	return q.s.Sending([]Sent{{Queue: q, Pos: pos, Stamp: st}})
}

// Sending is Queue.Sending for frames of several queues, with as few writes as their slots allow.
func (s *Spool) Sending(frames []Sent) error {
	c := &s.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sending = c.sending[:0]
	for _, f := range frames {
		c.state.Lock()
		q := f.Queue.(*Queue)
		if f.Pos > q.cursor.done { // else it was sent without waiting for this call
			q.cursor.doubt, q.cursor.stamp = f.Pos, f.Stamp
		}
		c.state.Unlock()
		c.sending = append(c.sending, q)
	}
	return c.writeAllLocked(c.sending)
}

// Doubt is the frame that was being sent when the process ended, or that Sending named since, and has
// no Done yet: it must go out again with its old stamp before anything else of the partition. It does not wait for the
// disk.
func (q *Queue) Doubt() (Pos, Stamp, bool) {
	c := &q.s.cursors
	c.state.Lock()
	defer c.state.Unlock()
	return q.cursor.doubt, q.cursor.stamp, q.cursor.doubt != 0
}

// Suspect says that an Open could not read this partition's newest cursor: frames up to and including
// upTo may be done, so what is sent of them may come to be there twice. It ends when they are done. It does not wait for
// the disk.
func (q *Queue) Suspect() (upTo Pos, ok bool) {
	c := &q.s.cursors
	c.state.Lock()
	defer c.state.Unlock()
	return q.cursor.suspect, q.cursor.suspect != 0
}
