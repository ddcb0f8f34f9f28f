package spool

// entry is one frame that is not done: 16 bytes.
type entry struct {
	pos    Pos
	size   uint32 // of the frame; 0: it went to quarantine
	events int32
}

// block holds some entries of one queue; blocks make up a list, so that 256 queues with a frame each and
// one queue with 256 Ki frames are both cheap, and nothing is ever copied.
type block struct {
	entries    [30]entry
	head, tail int
	next       *block
}

// maxSpares is how many free blocks are kept: 64 x 512 bytes.
const maxSpares = 64

// index is a queue's frames that are not done, in order. Spool.mu guards it.
type index struct{ first, last *block }

func (s *Spool) pushEntry(x *index, e entry) {
	if x.last == nil || x.last.tail == len(x.last.entries) {
		b := s.spare
		if b != nil {
			s.spare, s.spares = b.next, s.spares-1
			b.head, b.tail, b.next = 0, 0, nil
		} else {
			b = &block{}
		}
		if x.last == nil {
			x.first = b
		} else {
			x.last.next = b
		}
		x.last = b
	}
	x.last.entries[x.last.tail] = e
	x.last.tail++
}

// popEntry removes the oldest entry.
func (s *Spool) popEntry(x *index) {
	b := x.first
	b.head++
	if b.head < b.tail {
		return
	}
	if b == x.last { // the only one: use it again
		b.head, b.tail = 0, 0
		return
	}
	x.first = b.next
	if s.spares < maxSpares {
		b.next = s.spare
		s.spare, s.spares = b, s.spares+1
	}
}

// oldest returns the oldest entry, nil when there is none.
func (x *index) oldest() *entry {
	if b := x.first; b != nil && b.head < b.tail {
		return &b.entries[b.head]
	}
	return nil
}

// each calls yield for the entries in order until it returns false.
func (x *index) each(yield func(e *entry) bool) {
	for b := x.first; b != nil; b = b.next {
		for i := b.head; i < b.tail; i++ {
			if !yield(&b.entries[i]) {
				return
			}
		}
	}
}
