// Package skiptest is for tests that need what a machine may not have: a program, root, a file system.
package skiptest

import (
	"os"
	"testing"
)

// Missing skips a test for what is missing. With CI=true it fails the test instead: there nothing may be left out.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI=true allows no skip: "+format, args...)
	}
	t.Skipf(format, args...)
}
