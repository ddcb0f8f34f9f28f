//go:build race

package recordbatch

// raceEnabled: sync.Pool drops values at random under the race detector, so libraries allocate.
const raceEnabled = true
