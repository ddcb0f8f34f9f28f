package procs

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestScale: loads in cores, each for so many ticks, and how many processors there are then. A load is what is offered: no
// more is in use than there are processors.
func TestScale(t *testing.T) {
	type step struct {
		cores float64
		ticks int
		want  int
	}
	for _, tt := range []struct {
		name  string
		most  int
		steps []step
	}{
		{"most of one core is enough", 8, []step{{0.7, 1000, 1}}},
		{"a collection is no load", 8, []step{{1, 1, 1}, {0.3, 10, 1}, {1, 1, 1}}},
		{"a load doubles them until they are enough", 8, []step{{5, 2, 2}, {5, 2, 4}, {5, 2, 8}, {5, 100, 8}}},
		{"never more than there are", 3, []step{{16, 20, 3}}},
		{"what was needed stays", 8, []step{{1.2, 1000, 2}}},
		{"less after a while, at once as few as are needed", 8, []step{{7, 6, 8}, {0.3, 33, 8}, {0.3, 80, 1}}},
		{"a peak in each while keeps them", 8, []step{{3, 4, 4}, {0.2, 30, 4}, {3, 1, 4}, {0.2, 30, 4}, {3, 1, 4}, {0.2, 30, 4}, {3, 1, 4}}},
		{"as many as the peak needs", 8, []step{{7, 6, 8}, {1.4, 80, 3}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(tt.most).scale
			for i, step := range tt.steps {
				for range step.ticks {
					s.next(min(step.cores, float64(s.now)))
				}
				if s.now != step.want {
					t.Fatalf("step %d: %d processors, want %d", i, s.now, step.want)
				}
			}
		})
	}
}

// TestSteady: no steady load makes the number go to and fro, though what is in use is more with more processors.
func TestSteady(t *testing.T) {
	for cores := 0.0; cores < 16; cores += 0.01 {
		s, changes := New(8).scale, 0
		load := cores
		if cores >= 8 { // again, from all processors
			s.now, load = s.most, cores-8
		}
		for range 2000 {
			was := s.now
			s.next(min(load*(1+0.4*(1-1/float64(s.now))), float64(s.now)))
			if s.now != was {
				changes++
			}
		}
		if changes > int(math.Log2(8))+1 {
			t.Errorf("%.2f cores: %d changes", load, changes)
		}
	}
}

// TestIdle: it rests when nothing is to be taken away any more.
func TestIdle(t *testing.T) {
	s := New(4).scale
	if !s.next(0.01) || s.next(0.2) {
		t.Error("one processor: it must rest at 0.01 cores and not at 0.2")
	}
	s.next(1)
	s.next(1)
	ticks := 0
	for !s.next(0.01) {
		if ticks++; ticks > 2*coolTicks {
			t.Fatalf("%d processors, and it never rests", s.now)
		}
	}
}

// TestRun: a load raises GOMAXPROCS within a few ticks, silence lowers it and ends the ticks, and Stir brings them back.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 4
		var procs atomic.Int64
		var offered, used atomic.Int64 // milli-cores; nanoseconds
		looks := 0
		used.Store(1)
		at := time.Now()
		g := New(most)
		g.cpuTime = func() time.Duration {
			looks++
			cores := min(float64(offered.Load())/1000, float64(max(procs.Load(), 1)))
			used.Add(int64(cores * float64(time.Since(at))))
			at = time.Now()
			return time.Duration(used.Load())
		}
		g.set = func(n int) int { return int(procs.Swap(int64(n))) }
		ctx, cancel := context.WithCancel(t.Context())
		var governor sync.WaitGroup
		governor.Go(func() { g.Run(ctx) })
		for range 3 {
			time.Sleep(3 * coolTicks * tick)
			synctest.Wait()
			before := looks
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := procs.Load(); n != 1 || looks != before {
				t.Fatalf("%d processors and %d looks in silence", n, looks-before)
			}
			offered.Store(3500)
			g.Stir()
			g.Stir()
			time.Sleep(2 * hotTicks * tick)
			synctest.Wait()
			if n := procs.Load(); n != most {
				t.Fatalf("%d processors under load", n)
			}
			offered.Store(10)
		}
		time.Sleep(3 * coolTicks * tick)
		synctest.Wait()
		if n := procs.Load(); n != 1 {
			t.Fatalf("%d processors before the end", n)
		}
		cancel() // while it rests
		governor.Wait()
		if n := procs.Load(); n != most {
			t.Errorf("%d processors in the end", n)
		}
	})
}

// TestNothingToGovern: with one processor Run returns, and nobody is stirred who does not exist.
func TestNothingToGovern(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	New(1).Run(t.Context())
	(*Governor)(nil).Stir()
	if n := runtime.GOMAXPROCS(0); n != was {
		t.Errorf("GOMAXPROCS is %d", n)
	}
}
