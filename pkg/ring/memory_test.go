package ring

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// Words that different cores write lie 128 bytes apart, also from what everybody reads.
func TestLayout(t *testing.T) {
	var r Ring[*int]
	var g Gate
	ready, room := unsafe.Offsetof(r.ready), unsafe.Offsetof(r.room)
	for name, offsets := range map[string][]uintptr{
		"ring": {0, unsafe.Offsetof(r.tail), unsafe.Offsetof(r.head), unsafe.Offsetof(r.slots), ready, room, unsafe.Sizeof(r)},
		"gate": {0, unsafe.Offsetof(g.word), unsafe.Offsetof(g.maxItems), unsafe.Offsetof(g.mu), unsafe.Sizeof(g)},
	} {
		if !slices.IsSorted(offsets) {
			t.Errorf("%s: %v", name, offsets)
		}
		for i := range len(offsets) - 1 {
			if d := offsets[i+1] - offsets[i]; d < line {
				t.Errorf("%s: %d bytes between %d and the next", name, d, offsets[i])
			}
		}
	}
	if d := unsafe.Offsetof(r.bits) + unsafe.Sizeof(r.bits) + line; d > ready {
		t.Errorf("bits is less than a line before ready")
	}
	if d := unsafe.Offsetof(g.now) + unsafe.Sizeof(g.now) + line; d > unsafe.Offsetof(g.mu) {
		t.Errorf("now is less than a line before mu")
	}
	if s := unsafe.Sizeof(slot[*int]{}); s != 16 { // also on 386: seq is aligned to 8
		t.Errorf("a slot is %d bytes", s)
	}
}

// Neighbouring positions never share a 64-byte line, and the mapping is one to one.
func TestNeighboursApart(t *testing.T) {
	for _, items := range []int{16, 32, 64, 1024} {
		r := newAt[*int](items, 1<<32-5)
		seen := map[*slot[*int]]bool{}
		for pos := uint64(1<<32 - 5); len(seen) < r.Cap(); pos++ {
			s, next := r.at(pos), r.at(pos+1)
			if seen[s] {
				t.Fatalf("%d items: two positions share a slot", items)
			}
			seen[s] = true
			if s.seq.Load() != pos {
				t.Fatalf("%d items: slot of %d expects %d", items, pos, s.seq.Load())
			}
			a, b := uintptr(unsafe.Pointer(s)), uintptr(unsafe.Pointer(next))
			if d := max(a, b) - min(a, b); d < 3*unsafe.Sizeof(*s) {
				t.Fatalf("%d items: neighbours %d bytes apart", items, d)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, c := range contenders[*int]() {
		q, v, dst := c.make(64), new(int), make([]*int, 8)
		g := NewGate(GateConfig{Items: 64, Bytes: 1 << 20})
		none := ended()
		n := testing.AllocsPerRun(1000, func() {
			for range 4 {
				if g.TryReserve(100) != nil || q.TryPush(v) != nil {
					t.Fatal("not pushed")
				}
				if g.Reserve(none, 100, time.Second) != nil || !g.TryGrow(10) || q.Push(none, v) != nil {
					t.Fatal("not pushed")
				}
			}
			n, err := q.PopBatch(dst)
			if n != 8 || err != nil {
				t.Fatalf("popped %d, %v", n, err)
			}
			g.Release(n, 8*100+4*10)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations per 8 items", c.name, n)
		}
	}
}

// Waiting does not allocate either once the node of the waiter, with its channel and its timer, exists:
// pushing and popping in lockstep makes both sides park nearly every time.
func TestNoAllocationsWhenWaiting(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, and drops what is pooled")
	}
	const count = 20_000
	g := NewGate(GateConfig{Items: 1, Bytes: 1})
	r := New[int](1)
	var before, after runtime.MemStats
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	runtime.ReadMemStats(&before)
	go func() {
		defer close(done)
		dst := make([]int, 4)
		for got := 0; got < count; {
			n, err := r.PopBatchContext(ctx, dst)
			if err != nil {
				t.Error(err)
				return
			}
			got += n
			g.Release(n, int64(n))
		}
	}()
	for i := range count {
		if err := g.Reserve(ctx, 1, time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := r.TryPush(i); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	runtime.ReadMemStats(&after)
	// A garbage collection may empty the pool; one allocation per item would be 20,000.
	if n := after.Mallocs - before.Mallocs; n > count/50 {
		t.Errorf("%d allocations for %d items", n, count)
	}
}

// The ring keeps nothing of what was popped.
func TestSlotsCleared(t *testing.T) {
	for _, c := range contenders[*[1 << 12]byte]() {
		t.Run(c.name, func(t *testing.T) {
			q := c.make(16)
			const items = 8
			collected := make(chan int, items)
			func() {
				for i := range items {
					v := new([1 << 12]byte)
					runtime.AddCleanup(v, func(i int) { collected <- i }, i)
					if err := q.TryPush(v); err != nil {
						t.Fatal(err)
					}
				}
				if n := q.TryPopBatch(make([]*[1 << 12]byte, items)); n != items {
					t.Fatalf("popped %d", n)
				}
			}()
			for range 1000 {
				if runtime.GC(); len(collected) == items {
					break
				}
				runtime.Gosched()
			}
			if n := len(collected); n != items {
				t.Errorf("%d of %d popped items are kept alive", items-n, items)
			}
			runtime.KeepAlive(q)
		})
	}
}
