package body

import (
	"math/bits"
	"runtime"
	"sync"
)

// minClassBits: the smallest buffer is 2 KiB. 1,000 waiting one-event bodies then cost 2 MB.
const minClassBits = 11

// Pool keeps buffers of power-of-two sizes. What is lent out and what lies idle never exceed the
// budget together, so the gate's promise about bytes holds for the pool as well: before a new buffer
// is made, idle ones of other sizes are let go.
//
// What is let go is memory until the garbage collector has been there, and its pace does not bound
// that: buffers hold no pointers, so allocating them during a collection is not slowed down. So
// the pool collects by itself when it has let go of garbageShare of its budget.
type Pool struct {
	making sync.Mutex // held while a new buffer is made; before mu
	mu     sync.Mutex
	budget int64
	total  int64 // lent + idle
	letGo  int64 // let go since the last collection of the pool
	idle   [][]*Body
}

// garbageShare: what has been let go and is not yet collected is at most one part in garbageShare of
// the budget, and one buffer.
const garbageShare = 4

// NewPool returns a pool that holds at most budget bytes. The gate in front of it must admit no more
// than budget; a Get beyond it still succeeds (the gate decides, the pool never refuses).
func NewPool(budget int64) *Pool {
	return &Pool{budget: budget, idle: make([][]*Body, 64-minClassBits)}
}

func class(n int64) int {
	if n <= 1<<minClassBits {
		return 0
	}
	return bits.Len64(uint64(n-1)) - minClassBits
}

// Charge is the size of the buffer that Get(n) returns: what to reserve at the gate for n bytes.
func Charge(n int64) int64 { return 1 << (class(n) + minClassBits) }

// Bytes is the memory of all buffers, lent and idle.
func (p *Pool) Bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// Get returns a body whose buffer has room for n bytes. The caller owns it until Put.
func (p *Pool) Get(n int64) *Body {
	c := class(n)
	p.mu.Lock()
	b := p.takeLocked(c)
	p.mu.Unlock()
	if b == nil {
		b = p.make(c)
	}
	return b
}

// takeLocked takes an idle body of class c, or nil.
func (p *Pool) takeLocked(c int) *Body {
	s := p.idle[c]
	if len(s) == 0 {
		return nil
	}
	b := s[len(s)-1]
	s[len(s)-1] = nil
	p.idle[c] = s[:len(s)-1]
	return b
}

// make makes a body of class c, or takes one that came back meanwhile. One at a time, so that nobody
// allocates while garbage is being collected.
func (p *Pool) make(c int) *Body {
	size := int64(1) << (c + minClassBits)
	p.making.Lock()
	defer p.making.Unlock()
	p.mu.Lock()
	if b := p.takeLocked(c); b != nil {
		p.mu.Unlock()
		return b
	}
	p.makeRoomLocked(size)
	p.total += size
	collect := p.letGo > p.budget/garbageShare
	if collect {
		p.letGo = 0
	}
	p.mu.Unlock()
	if collect {
		runtime.GC()
	}
	return &Body{buf: make([]byte, size)}
}

// makeRoomLocked lets idle bodies go until size more bytes fit: the smallest one that is enough, else
// the largest ones.
func (p *Pool) makeRoomLocked(size int64) {
	over := p.total + size - p.budget
	if over <= 0 {
		return
	}
	for o := class(over); o < len(p.idle); o++ {
		if p.takeLocked(o) != nil {
			p.forgetLocked(1 << (o + minClassBits))
			return
		}
	}
	for o := len(p.idle) - 1; o >= 0; o-- {
		for p.total+size > p.budget && p.takeLocked(o) != nil {
			p.forgetLocked(1 << (o + minClassBits))
		}
	}
}

func (p *Pool) forgetLocked(size int64) {
	p.total -= size
	p.letGo += size
}

// Put gives a body back. No view into it may be held any more.
func (p *Pool) Put(b *Body) {
	poison(b.buf)
	*b = Body{buf: b.buf}
	size := int64(len(b.buf))
	c := class(size)
	p.mu.Lock()
	if p.total > p.budget {
		p.forgetLocked(size)
	} else {
		p.idle[c] = append(p.idle[c], b)
	}
	p.mu.Unlock()
}

// Size is the bytes of all buffers, lent and idle together. It is at most the budget as long as no
// more than the budget is lent.
func (p *Pool) Size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}
