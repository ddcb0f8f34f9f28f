//go:build hook

package ring

import (
	"math/rand/v2"
	"runtime"
)

// hook yields at random, so that tests see other goroutines run between two atomic steps. Bugs of
// lock-free queues live in windows of a few nanoseconds that a scheduler hits once in a million runs.
func hook() {
	for rand.IntN(3) == 0 {
		runtime.Gosched()
	}
}
