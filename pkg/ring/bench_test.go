//go:build unix

package ring

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	benchSlots = 1024
	benchBatch = 32
)

// rival is a queue in a benchmark. release is what a consumer calls when it is done with a batch.
type rival struct {
	name string
	make func() (q queue[*item], push func(*item) error, release func(n int))
}

// rivals stand side by side in every table: the ring alone, the ring behind its gate (as the pipeline
// uses it), the two dumb versions, and a bare channel, which cannot be closed under its senders.
func rivals() []rival {
	ctx := context.Background()
	var all []rival
	for _, c := range contenders[*item]() {
		all = append(all, rival{c.name, func() (queue[*item], func(*item) error, func(int)) {
			q := c.make(benchSlots)
			return q, func(v *item) error { return q.Push(ctx, v) }, func(int) {}
		}})
	}
	gated := rival{"ring+gate", func() (queue[*item], func(*item) error, func(int)) {
		r, g := New[*item](benchSlots), NewGate(GateConfig{Items: benchSlots, Bytes: 1 << 30})
		push := func(v *item) error {
			if err := g.Reserve(ctx, 100, time.Hour); err != nil {
				return err
			}
			return r.TryPush(v)
		}
		return r, push, func(n int) { g.Release(n, int64(n)*100) }
	}}
	bare := rival{"bare-chan", func() (queue[*item], func(*item) error, func(int)) {
		q := newChanQueue[*item](benchSlots)
		return q, func(v *item) error { q.ch <- v; return nil }, func(int) {}
	}}
	return append([]rival{gated, bare}, all...)
}

// One goroutine pushes and pops: what the operations themselves cost.
func BenchmarkUncontended(b *testing.B) {
	for _, r := range rivals() {
		b.Run(r.name, func(b *testing.B) {
			q, push, release := r.make()
			v, dst := new(item), make([]*item, 1)
			b.ReportAllocs()
			before, _ := cpu()
			for b.Loop() {
				if err := push(v); err != nil {
					b.Fatal(err)
				}
				n, err := q.PopBatch(dst)
				if n != 1 || err != nil || dst[0] != v {
					b.Fatal(n, err)
				}
				release(n)
			}
			after, _ := cpu()
			b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// Nothing but the queue, always full or always empty.
func BenchmarkSaturated(b *testing.B) {
	for _, s := range []struct{ producers, consumers int }{{1, 1}, {4, 1}, {4, 2}, {64, 2}} {
		for _, r := range rivals() {
			b.Run(fmt.Sprintf("%dp%dc/%s", s.producers, s.consumers, r.name), func(b *testing.B) {
				transfer(b, r, s.producers, s.consumers, 0)
			})
		}
	}
}

// The regime that matters: 5 us of work per item on each side, as a handler and a decoder have.
func BenchmarkWithWork(b *testing.B) {
	loops := calibrate(5 * time.Microsecond)
	for _, r := range rivals() {
		b.Run("64p2c/"+r.name, func(b *testing.B) { transfer(b, r, 64, 2, loops) })
	}
}

// transfer moves b.N items and reports CPU per item beside wall time: on a shared machine it is the
// steadier of the two, and it is what a fraction of a core is billed in.
func transfer(b *testing.B, r rival, producers, consumers, loops int) {
	q, push, release := r.make()
	var in, out sync.WaitGroup
	var left, sum atomic.Int64
	left.Store(int64(b.N))
	v := &item{n: 1}
	b.ReportAllocs()
	b.ResetTimer()
	before, _ := cpu()
	for p := range producers {
		share := b.N / producers
		if p < b.N%producers {
			share++
		}
		in.Go(func() {
			for range share {
				work(loops)
				if err := push(v); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for range consumers {
		out.Go(func() {
			dst, got := make([]*item, benchBatch), int64(0)
			defer func() { sum.Add(got) }()
			for {
				n, err := q.PopBatch(dst)
				if err != nil {
					return
				}
				for _, v := range dst[:n] {
					work(loops)
					got += int64(v.n)
				}
				release(n)
			}
		})
	}
	in.Wait()
	q.Close()
	out.Wait()
	after, _ := cpu()
	b.StopTimer()
	b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	if sum.Load() != int64(b.N) {
		b.Fatalf("popped %d of %d", sum.Load(), b.N)
	}
}

// work burns CPU and touches no memory. Its result cannot be known without the work.
//
//go:noinline
func work(loops int) {
	x := uint64(loops)
	for i := range loops {
		x = x*6364136223846793005 + uint64(i)
	}
	runtime.KeepAlive(x)
}

// calibrate returns how many loops cost d of CPU.
func calibrate(d time.Duration) int {
	const loops = 20_000_000
	before, _ := cpu()
	work(loops)
	after, _ := cpu()
	return int(loops * float64(d) / float64(after-before))
}
