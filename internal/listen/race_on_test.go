//go:build race

package listen

// raceEnabled: sync.Pool drops values at random under the race detector, so a buffer of the pool is made anew at times.
const raceEnabled = true
