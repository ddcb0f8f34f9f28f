package body

import (
	"math/bits"
	"sync"
)

// minClassBits: the smallest buffer is 2 KiB. 1,000 waiting one-event bodies then cost 2 MB.
const minClassBits = 11

// Pool keeps buffers of power-of-two sizes. What is lent out and what lies idle never exceed the
// budget together, so the gate's promise about bytes holds for the pool as well: before a new buffer
// is made, idle ones of other sizes are let go.
type Pool struct {
	mu     sync.Mutex
	budget int64
	total  int64 // lent + idle
	idle   [][]*Body
}

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
	size := int64(1) << (c + minClassBits)
	p.mu.Lock()
	if s := p.idle[c]; len(s) > 0 {
		b := s[len(s)-1]
		s[len(s)-1] = nil
		p.idle[c] = s[:len(s)-1]
		p.mu.Unlock()
		return b
	}
	for o := len(p.idle) - 1; o >= 0 && p.total+size > p.budget; o-- {
		s := p.idle[o]
		for len(s) > 0 && p.total+size > p.budget {
			s[len(s)-1] = nil
			s = s[:len(s)-1]
			p.total -= 1 << (o + minClassBits)
		}
		p.idle[o] = s
	}
	p.total += size
	p.mu.Unlock()
	return &Body{buf: make([]byte, size)}
}

// Put gives a body back. Nobody may hold a view into it any more.
func (p *Pool) Put(b *Body) {
	poison(b.buf)
	*b = Body{buf: b.buf}
	size := int64(len(b.buf))
	c := class(size)
	p.mu.Lock()
	if p.total > p.budget {
		p.total -= size
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
