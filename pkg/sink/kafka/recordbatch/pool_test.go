package recordbatch

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func TestPoolBounds(t *testing.T) {
	for bytes, want := range map[int64]int{0: 1, 1: 1, ChunkSize: 1, 2*ChunkSize - 1: 1, 5 * ChunkSize: 5, 16 << 20: 1024} {
		if p := NewPool(bytes); p.Total() != want || p.Free() != want || p.InUse() != 0 {
			t.Errorf("NewPool(%d): total %d free %d in use %d, want %d chunks", bytes, p.Total(), p.Free(), p.InUse(), want)
		}
	}
}

func TestPoolAllocatesLazilyAndReusesHotChunksFirst(t *testing.T) {
	p := NewPool(100 * ChunkSize)
	if p.allocated != 0 {
		t.Fatal("memory before the first use")
	}
	a, _ := p.take(nil, 3)
	if p.allocated != slabChunks {
		t.Fatalf("%d chunks allocated, want one slab", p.allocated)
	}
	last := a[0]
	p.put(a)
	if b, _ := p.take(nil, 1); b[0] != last {
		t.Fatal("not the chunk that was used last")
	}
	if c, ok := p.take(nil, 99); !ok || len(c) != 99 || p.allocated != 100 {
		t.Fatalf("took %d, allocated %d", len(c), p.allocated)
	}
	if c, ok := p.take(nil, 1); ok || c != nil || p.Free() != 0 {
		t.Fatal("took beyond the bound")
	}
}

// TestPoolProperty runs random operations on batches of one pool next to a model of them.
func TestPoolProperty(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 7))
		p := NewPool(int64(1+r.IntN(40)) * ChunkSize)
		type entry struct {
			b    *Batch
			recs []rec
		}
		var live []entry
		var s Scratch
		for range 300 {
			switch op := r.IntN(10); {
			case op == 0 || len(live) == 0:
				live = append(live, entry{b: p.NewBatch(r.IntN(3))})
			case op < 6:
				e := &live[r.IntN(len(live))]
				if e.b.sealed {
					break
				}
				for range r.IntN(30) {
					x := randomRecord(r, 3000)
					free, chunks := p.Free(), e.b.Chunks()
					if !x.appendTo(e.b) {
						if need := chunksFor(e.b.Size()+sizeOf([]rec{x})) - chunks; need <= free {
							t.Fatalf("seed %d: refused, needs %d chunks, %d free", seed, need, free)
						}
						break
					}
					e.recs = append(e.recs, x)
				}
			case op < 8:
				e := &live[r.IntN(len(live))]
				if e.b.Count() == 0 || e.b.stamp.set {
					break
				}
				if err := e.b.Compress(codecs[r.IntN(5)], &s); err != nil {
					t.Fatal(err)
				}
				if r.IntN(2) == 0 {
					e.b.Stamp(1, 1, int32(len(e.recs)))
				}
			default:
				i := r.IntN(len(live))
				compare(t, "Records", decodeOwn(t, live[i].b), live[i].recs)
				live[i].b.Release()
				live[i] = live[len(live)-1]
				live = live[:len(live)-1]
			}
			held := 0
			for _, e := range live {
				held += e.b.Chunks()
			}
			if held != p.InUse() || held > p.Total() || p.allocated > p.Total() || len(p.idle) != p.allocated-held {
				t.Fatalf("seed %d: batches hold %d chunks, in use %d, allocated %d, idle %d, total %d", seed, held, p.InUse(), p.allocated, len(p.idle), p.Total())
			}
		}
		for _, e := range live {
			compare(t, "Records", decodeOwn(t, e.b), e.recs)
			e.b.Release()
		}
		if p.Free() != p.Total() {
			t.Fatalf("seed %d: %d chunks lost", seed, p.Total()-p.Free())
		}
		seen := map[*chunk]bool{}
		for _, c := range p.idle {
			if seen[c] {
				t.Fatal("a chunk came back twice")
			}
			seen[c] = true
		}
	}
}

func TestPoolConcurrent(t *testing.T) {
	p := NewPool(20 * ChunkSize)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 8))
			var s Scratch
			for range 60 {
				b := p.NewBatch(4)
				var recs []rec
				for range r.IntN(100) {
					x := randomRecord(r, 2000)
					if !x.appendTo(b) {
						break
					}
					recs = append(recs, x)
				}
				if len(recs) > 0 {
					if err := b.Compress(codecs[r.IntN(5)], &s); err != nil {
						t.Error(err)
					}
					b.Stamp(int64(g), 0, 0)
				}
				if p.InUse() > p.Total() {
					t.Error("bound exceeded")
				}
				var got []rec
				if err := b.Records(collect(&got)); err != nil || len(got) != len(recs) {
					t.Errorf("%d records, want %d, %v", len(got), len(recs), err)
				}
				for i := range got {
					if !recs[i].equal(got[i]) {
						t.Errorf("record %d is %v, want %v", i, got[i], recs[i])
					}
				}
				b.Release()
			}
		})
	}
	wg.Wait()
	if p.InUse() != 0 {
		t.Fatalf("%d chunks in use at the end", p.InUse())
	}
}
