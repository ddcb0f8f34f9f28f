package kafka

import "testing"

// What spool_setup_test.go sets, which may import what this package may not.
var (
	// OpenTestSpool opens a spool directory.
	OpenTestSpool func(t *testing.T, dir string, maxBytes int64) func() (Spool, error)
	// NewTestDisk makes a disk in memory.
	NewTestDisk func(t *testing.T) TestDisk
)

// TestDisk is a disk with one spool.
type TestDisk interface {
	Open() (Spool, error)
	// Kill is the disk as the next process finds it when this one is killed now.
	Kill() TestDisk
	// Limit is how many bytes go onto it.
	Limit(bytes int64)
	// Flip damages a byte in a file of frames, chosen by n; false: there is none.
	Flip(n uint64) bool
}
