//go:build !invariants

package kafka

import "sync"

// lock is core.mu.
type lock = sync.Mutex

// observed is what the build with invariants remembers of a batch.
type observed struct{}

// watchState has the lock check what it guards, in the build with invariants.
func (s *core) watchState() {}
