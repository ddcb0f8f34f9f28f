package kafka

// slot is a lock for those who hold it while they wait for something else: a disk, a signal, time. A goroutine
// that waits for a sync.Mutex does not count as durably blocked for testing/synctest, so with one a simulation
// could neither go on nor tell that it stands still; a goroutine that waits for a channel does.
type slot chan struct{}

func newSlot() slot { return make(slot, 1) }

func (s slot) Lock()   { s <- struct{}{} }
func (s slot) Unlock() { <-s }

// lockUnless is Lock that gives up, and returns false, when stop is closed.
func (s slot) lockUnless(stop <-chan struct{}) bool {
	select {
	case s <- struct{}{}: // it is free
		return true
	default:
	}
	select {
	case s <- struct{}{}:
		return true
	case <-stop:
		return false
	}
}
