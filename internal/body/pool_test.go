package body

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func TestCharge(t *testing.T) {
	for _, c := range []struct{ n, want int64 }{
		{0, 2048}, {1, 2048}, {2048, 2048}, {2049, 4096}, {4096, 4096}, {4097, 8192},
		{1 << 20, 1 << 20}, {1<<20 + 1, 2 << 20}, {4 << 20, 4 << 20}, {1 << 40, 1 << 40},
	} {
		if got := Charge(c.n); got != c.want {
			t.Errorf("Charge(%d) = %d, want %d", c.n, got, c.want)
		}
	}
	p := NewPool(16 << 20)
	for n := int64(1); n <= 1<<20; n = n*3 + 1 {
		b := p.Get(n)
		if b.Charge() != Charge(n) || int64(len(b.Buffer())) != b.Charge() || int64(cap(b.Buffer())) != b.Charge() {
			t.Errorf("Get(%d): charge %d, buffer %d of %d", n, b.Charge(), len(b.Buffer()), cap(b.Buffer()))
		}
	}
}

// TestPutClears: nothing of one delivery is left for the next, and the buffer comes back.
func TestPutClears(t *testing.T) {
	p := NewPool(1 << 20)
	b := p.Get(100)
	buf := &b.Buffer()[0]
	b.Data, b.ID, b.AdmittedAt, b.NDJSON, b.Delivery = b.Buffer()[:3], 1, 2, true, NewDelivery()
	p.Put(b)
	b = p.Get(2048)
	if &b.Buffer()[0] != buf {
		t.Error("a new buffer instead of the idle one")
	}
	if b.Data != nil || b.ID != 0 || b.AdmittedAt != 0 || b.NDJSON || b.Delivery != nil {
		t.Errorf("%+v", b)
	}
}

// TestBudget: as long as the gate lends no more than the budget, lent and idle together stay within
// it, whatever sizes follow each other.
func TestBudget(t *testing.T) {
	const budget = 1 << 20
	p := NewPool(budget)
	rnd := rand.New(rand.NewPCG(1, 2))
	var lent []*Body
	var used int64
	for range 20_000 {
		n := rnd.Int64N(1 << (8 + rnd.IntN(13)))
		if used+Charge(n) <= budget && rnd.IntN(3) > 0 {
			lent = append(lent, p.Get(n))
			used += Charge(n)
		} else if len(lent) > 0 {
			i := rnd.IntN(len(lent))
			used -= lent[i].Charge()
			p.Put(lent[i])
			lent[i] = lent[len(lent)-1]
			lent = lent[:len(lent)-1]
		}
		if p.Size() > budget || p.Size() < used {
			t.Fatalf("size %d with %d lent of %d", p.Size(), used, budget)
		}
	}
}

// TestOverBudget: the pool never refuses, and lets go of what is beyond its budget when it comes back.
func TestOverBudget(t *testing.T) {
	p := NewPool(4096)
	a, b := p.Get(4096), p.Get(4096)
	if p.Size() != 8192 {
		t.Errorf("size %d", p.Size())
	}
	p.Put(a)
	p.Put(b)
	if p.Size() != 4096 {
		t.Errorf("size %d after both came back", p.Size())
	}
}

// TestConcurrent: no buffer is ever lent twice. The race detector helps.
func TestConcurrent(t *testing.T) {
	p := NewPool(256 << 10)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 2000 {
				b := p.Get(rnd.Int64N(16 << 10))
				buf := b.Buffer()
				buf[0], buf[len(buf)-1] = byte(g), byte(g)
				if rnd.IntN(4) == 0 {
					other := p.Get(1)
					other.Buffer()[0] = byte(g)
					p.Put(other)
				}
				if buf[0] != byte(g) || buf[len(buf)-1] != byte(g) {
					t.Error("a buffer was lent twice")
				}
				p.Put(b)
			}
		})
	}
	wg.Wait()
}

func TestPoolAllocs(t *testing.T) {
	p := NewPool(1 << 20)
	p.Put(p.Get(1000))
	if n := testing.AllocsPerRun(1000, func() { p.Put(p.Get(1000)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGetPut(b *testing.B) {
	p := NewPool(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		p.Put(p.Get(300))
	}
}
