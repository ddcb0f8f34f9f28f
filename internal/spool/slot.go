package spool

// slot is a lock for those who hold it while they wait for the disk. A goroutine that waits for a sync.Mutex
// does not count as durably blocked for testing/synctest, so with one a simulation could neither go on nor tell
// that it stands still; a goroutine that waits for a channel does.
type slot chan struct{}

func newSlot() slot { return make(slot, 1) }

func (s slot) Lock()   { s <- struct{}{} }
func (s slot) Unlock() { <-s }
