// Package procs gives the Go scheduler as many processors as the load needs, and one at first.
//
// A processor (GOMAXPROCS, a "P") more than needed is not free. Each goroutine that becomes ready wakes a thread for one that is
// idle; the thread looks for work, finds that there is none left, and sleeps again. While most of a core was idle that was a quarter of
// the CPU time of ingest, see docs/adr/0026-as-many-processors-as-needed.md.
package procs

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// tick is how often the load is looked at while there is any.
	tick = 50 * time.Millisecond
	// quiet is the load, in cores, at which one processor is not looked at until something comes.
	quiet = 0.1
	// hot is the share of the processors' time that is in use when there are too few of them. In two ticks in a row: one may
	// be a collection.
	hot      = 0.75
	hotTicks = 2
	// cool is the share of which the busiest of coolTicks may take after some were taken away. It is so far from hot that a
	// steady load never goes to and fro.
	cool      = 0.5
	coolTicks = 40
)

// Governor sets GOMAXPROCS. Use [New], then [Governor.Run]; a nil one is never stirred.
type Governor struct {
	scale   scale
	resting atomic.Bool
	stirred chan struct{}
	cpuTime func() time.Duration
	set     func(procs int) int
}

// New returns a governor of at most most processors.
func New(most int) *Governor {
	return &Governor{
		scale: scale{most: max(most, 1), now: 1}, stirred: make(chan struct{}, 1), cpuTime: CPUTime, set: runtime.GOMAXPROCS,
	}
}

// Run sets GOMAXPROCS to one, and then to what the load needs, until ctx ends; then to all, for a stop should be short. Where
// the CPU time of the process is not known, or there is one processor at most, it does nothing.
func (g *Governor) Run(ctx context.Context) {
	if g.scale.most == 1 || g.cpuTime() == 0 {
		return
	}
	g.set(1)
	defer g.set(g.scale.most)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	used, at := g.cpuTime(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.stirred:
			used, at = g.cpuTime(), time.Now()
		case <-timer.C:
			u, t := g.cpuTime(), time.Now()
			was := g.scale.now
			idle := g.scale.next(float64(u-used) / float64(max(t.Sub(at), 1)))
			if g.scale.now != was {
				g.set(g.scale.now)
			}
			if used, at = u, t; idle {
				g.resting.Store(true)
				continue // until it is stirred
			}
		}
		timer.Reset(tick)
	}
}

// Stir tells that there is work. Call it for each piece; it costs a load.
func (g *Governor) Stir() {
	if g != nil && g.resting.Load() && g.resting.Swap(false) {
		g.stirred <- struct{}{} // has room: Run takes one for each time it rests
	}
}

// scale decides.
type scale struct {
	most, now int
	hot       int     // ticks in a row
	ticks     int     // since the number changed, or since the last time it could have become less
	busiest   float64 // of them, in cores
}

// next takes how many cores were in use since the last tick. idle: no look is needed until bodies come.
func (s *scale) next(cores float64) (idle bool) {
	s.ticks++
	s.busiest = max(s.busiest, cores)
	if cores > hot*float64(s.now) {
		s.hot++
	} else {
		s.hot = 0
	}
	switch {
	case s.hot >= hotTicks:
		s.set(2 * s.now)
	case s.ticks >= coolTicks:
		s.set(min(s.now, int(math.Ceil(s.busiest/cool))))
	}
	return s.now == 1 && cores < quiet
}

func (s *scale) set(procs int) {
	procs = min(max(procs, 1), s.most)
	if procs != s.now {
		s.now, s.hot = procs, 0
	}
	s.ticks, s.busiest = 0, 0
}
