package kafka

import "testing"

// OpenTestSpool opens a spool directory for a test; spool_setup_test.go sets it, which may import what this
// package may not.
var OpenTestSpool func(t *testing.T, dir string, maxBytes int64) func() (Spool, error)
