package kafka

// stuck reports whether the lane cannot send, or its last request failed.
func (l *lane) stuck() bool { return l.broker == nil || l.failures > 0 || l.heldUp() }

// heldUp reports whether the lane waits until dead letters of a batch with a frame have frames of their own, and so can end
// that batch: what comes next is no part of it. Where neither the disk nor their topic takes the dead letters the lane fails as
// one does whose broker is silent.
func (l *lane) heldUp() bool {
	whole := l.disk.splitParent
	if whole == nil {
		return false
	}
	b := l.next()
	return b == nil || b.coveredBy != whole
}

func (l *lane) idle() bool {
	return l.open == nil && l.head == nil && len(l.queue) == 0 && len(l.children) == 0 && !l.disk.any
}

// full reports whether the open batch has no room for a record of size bytes.
func (l *lane) full(size int) bool {
	return l.open != nil && l.open.rb.Size()+size > l.topic.limit
}

// mustGo reports whether the lane has more than an open batch.
func (l *lane) mustGo() bool {
	return l.head != nil || len(l.queue) > 0 || len(l.children) > 0 || l.disk.any
}

// quiet reports whether no request and no write has a batch of the lane.
func (l *lane) quiet() bool {
	quiet := !l.busy && !l.disk.closing
	l.batches(func(b *batch) { quiet = quiet && !b.writing })
	return quiet
}

// hasFrames reports whether a frame in the spool stands for something of the lane.
func (l *lane) hasFrames() bool {
	l.checkDisk()
	frames := l.disk.any || l.disk.splitParent != nil
	l.batches(func(b *batch) { frames = frames || !b.unframed() })
	return frames
}

// cannotDrain reports whether the lane has something that it cannot send now.
func (l *lane) cannotDrain() bool {
	if l.disk.any {
		return true
	}
	s := l.topic.core
	return !l.idle() && (l.stuck() || s.disk.holding || s.disk.hangs || !l.busy && !l.mayStamp() || !l.broker.throttledSince.IsZero())
}

// deferGrowth reports whether records go on by the old count, because the lanes cannot drain soon: one has frames on
// disk, or something that it cannot send. Waiting for that would keep every key out.
func (t *topic) deferGrowth() bool {
	if t.unassigned != nil || t.core.placesFrames() {
		return true
	}
	if l := t.drainsLast; l != nil && l.cannotDrain() {
		return true
	}
	t.drainsLast = nil
	for _, l := range t.lanes {
		if l.cannotDrain() {
			t.drainsLast = l // to be asked first: this is asked for each record
			return true
		}
	}
	return false
}

// batches calls f for the lane's batches that are not on disk only, in their order.
func (l *lane) batches(f func(*batch)) {
	if l.head != nil {
		f(l.head)
	}
	for _, b := range l.children {
		f(b)
	}
	for _, b := range l.queue {
		f(b)
	}
	if l.open != nil {
		f(l.open)
	}
}

// next is the batch that goes next if it is in memory, without taking it; nil: it is a frame, or there is
// none.
func (l *lane) next() *batch {
	switch {
	case l.head != nil:
		return l.head
	case len(l.children) > 0:
		return l.children[0]
	case l.disk.any:
		return nil
	case len(l.queue) > 0:
		return l.queue[0]
	}
	return l.open
}

// take makes the batch to send next the one in doubt and returns it, or nil. What was open is sealed by
// that.
func (l *lane) take() *batch {
	if l.head != nil {
		return l.head
	}
	switch {
	case len(l.children) > 0:
		l.head = pop(&l.children)
		return l.head
	case l.disk.any:
		l.head = l.takeFrame()
		return l.head
	case len(l.queue) == 0:
		l.seal()
	}
	if len(l.queue) == 0 {
		return nil
	}
	l.head = pop(&l.queue)
	l.disk.framed = max(0, l.disk.framed-1)
	return l.head
}

// seal ends the open batch.
func (l *lane) seal() {
	if l.open == nil {
		return
	}
	b := l.open
	b.size = b.rb.Size()
	l.queue = append(l.queue, b)
	l.open = nil
	l.wantFrame()
	if t := l.topic; b.sticky && t.sticky == int(l.partition) {
		t.advanceSticky()
	}
}

// sealAndSend seals the open batch and wakes the broker's workers for it.
func (l *lane) sealAndSend() {
	l.seal()
	l.signal()
}

// wantFrame tells the spooler, if batches get frames before they are sent, that the lane has one without.
func (l *lane) wantFrame() {
	if want := l.topic.core.wantsFrame; want != nil {
		want(l)
	}
}

// unframed is the lane's first batch without a frame, nil when all have one or it cannot have one now.
func (l *lane) unframed() *batch {
	d := &l.disk
	if head := l.bareHead(); head != nil {
		if head == l.head && l.busy && !head.bytesFinal {
			return nil // its bytes are not final yet
		}
		return notWriting(head)
	}
	if d.framed < len(l.queue) {
		return notWriting(l.queue[d.framed])
	}
	return nil
}

func notWriting(b *batch) *batch {
	if b.writing {
		return nil
	}
	return b
}

// claim takes the lane's batches without a frame, in order, for writing.
func (l *lane) claim(dst []*batch) []*batch {
	if l.unframed() == nil {
		return dst
	}
	dst = l.claimFront(dst)
	for _, b := range l.queue[l.disk.framed:] {
		dst = b.claim(dst)
	}
	return dst
}

// claimFront is claim for what goes before the frames on disk. Once there are some it cannot have one.
func (l *lane) claimFront(dst []*batch) []*batch {
	b := l.bareHead()
	if b == nil || l.unframed() == nil {
		return dst
	}
	if b == l.head {
		dst = b.claim(dst)
	}
	for _, b := range l.children {
		dst = b.claim(dst)
	}
	return dst
}

// claim takes the batch for writing, if it has no frame.
func (b *batch) claim(dst []*batch) []*batch {
	if b.unframed() {
		b.writing = true
		dst = append(dst, b)
	}
	return dst
}

// wireBytes is how many bytes the batch b of the lane has on the wire. A batch that is sealed may be with a goroutine that
// compresses it, and its record batch must not be asked.
func (l *lane) wireBytes(b *batch) int {
	if b == l.open {
		return b.rb.Size()
	}
	return b.size
}

// spillable is how much memory the lane would give back.
func (l *lane) spillable() (bytes int) {
	if l.disk.q == nil {
		return 0
	}
	if b := l.unframed(); b == nil {
		if l.open == nil || l.disk.framed < len(l.queue) || l.bareHead() != nil {
			return 0
		}
		return l.wireBytes(l.open)
	} else if b == l.head {
		bytes = l.wireBytes(b)
	}
	if !l.disk.any {
		for _, b := range l.children {
			bytes += l.wireBytes(b)
		}
	}
	for _, b := range l.queue[l.disk.framed:] {
		bytes += l.wireBytes(b)
	}
	return bytes
}

// signal tells the leader's workers that the lane has a batch to send.
func (l *lane) signal() {
	if l.broker != nil && !l.busy {
		l.broker.signal()
	}
}

// onIdle is called when a request has released the lane.
func (l *lane) onIdle() {
	l.topic.core.placeUnassigned(l.topic)
	if l.mustGo() {
		l.signal()
	} else if l.open != nil {
		l.onOpen()
	}
	if l.open != nil || len(l.queue) > l.disk.framed {
		l.wantFrame() // it need not wait for what was in its way
	}
}

// onOpen tells the workers that a batch was opened: one must wake when its linger is over.
func (l *lane) onOpen() {
	b := l.broker
	if b == nil || l.busy || !b.parked {
		return
	}
	if b.wakeAt.IsZero() || b.wakeAt.After(l.open.opened.Add(b.core.cfg.Linger)) {
		b.signal()
	}
}

// mayStamp reports whether what is asked of the cluster first is known (the topic's timestamp type, the broker's limit),
// and a stamp for the lane's next batch is there. The goroutine that asks the cluster signals when that changes.
func (l *lane) mayStamp() bool {
	s := l.topic.core
	if !l.topic.mayBeSent() || l.broker != nil && !l.broker.bound.asked {
		return false
	}
	return s.unsafe || s.current.gen != 0 && (!l.needsStamp(l.next()) || l.stamps.ready(s.current))
}

// wantStamp asks for a newer producer id if the lane needs one for its next stamp.
func (l *lane) wantStamp() {
	if s := l.topic.core; !l.stamps.ready(s.current) {
		s.wantProducer()
	}
}

// needsStamp reports whether b, or the next frame on disk if b is nil, is given a stamp when it is sent.
func (l *lane) needsStamp(b *batch) bool {
	return b == nil || !b.stamped || b.stamp.gen > 0 && !l.stamps.gave(b.stamp)
}

// abandonStamp takes b's stamp away: b leaves the lane, or its stamp was refused. No other bytes get it.
func (l *lane) abandonStamp(b *batch) {
	if !b.stamped {
		return
	}
	b.stamped = false
	l.stamps.abandon(b.stamp)
	l.wantStamp()
}

// keptQueue is how many places of an empty queue are kept, each of 8 bytes.
const keptQueue = 4

// pop takes the first batch off a queue.
func pop(queue *[]*batch) *batch {
	q := *queue
	b := q[0]
	q[0] = nil
	switch {
	case len(q) > 1:
		q = q[1:]
	case cap(q) <= keptQueue: // most lanes have one batch at a time
		q = q[:0]
	default:
		q = nil // let the backing array go
	}
	*queue = q
	return b
}
