package body

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
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

// TestGarbageIsBounded: bodies that grow and vary in size make the pool let go of many times its
// budget. Without any help of the runtime's own pace the heap stays within the budget, a quarter of
// it, and the buffers that are let go and made last.
func TestGarbageIsBounded(t *testing.T) {
	const budget, largest = 6 << 20, 1 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	p := NewPool(budget)
	var peak atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range 60 {
				// Each holds half of the budget at most, in buffers of one size, and then of the next.
				size := int64(1<<20) >> (i % 5)
				var held []*Body
				for range budget / 2 / size {
					held = append(held, p.Get(size))
				}
				for _, b := range held {
					p.Put(b)
				}
				h := heap() - before
				for old := peak.Load(); h > old && !peak.CompareAndSwap(old, h); old = peak.Load() {
				}
			}
		})
	}
	wg.Wait()
	t.Logf("peak %.1f MiB", float64(peak.Load())/(1<<20))
	if limit := int64(budget + budget/garbageShare + 2*largest + 1<<20); peak.Load() > limit {
		t.Errorf("the heap grew by %d bytes, %d expected at most", peak.Load(), limit)
	}
}
