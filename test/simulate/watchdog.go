package simulate

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// watchdog ends the program when a schedule makes no step for long: goroutines of the sink keep each other awake
// without anything that they wait for, so that the bubble's time stands still, or one waits for a lock that is held
// over a parked call. It looks from outside of the bubble.
type watchdog struct {
	seed  atomic.Uint64
	steps atomic.Uint64
	stop  chan struct{}
}

const (
	watchEvery = time.Second
	watchLimit = 10 // rounds without a step
)

func newWatchdog() *watchdog {
	d := &watchdog{stop: make(chan struct{})}
	go d.run()
	return d
}

func (d *watchdog) run() {
	still, last := 0, uint64(0)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		if now := d.steps.Load(); now != last {
			last, still = now, 0
		} else if still++; still == watchLimit {
			// The trace is not safe to read here.
			fmt.Printf("VIOLATION seed %d: spins: no step for %d rounds: goroutines of the sink keep each other awake, or wait for a lock that is held over a parked call\n", d.seed.Load(), watchLimit)
			stacks := make([]byte, 1<<18)
			fmt.Printf("%s\n", stacks[:runtime.Stack(stacks, true)])
			os.Exit(3)
		}
	}
}
