package main

import "testing"

// A file system without nameless files is asked with a file that has a name, and nothing is left of it.
func TestTryFileLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	if err := tryFile(dir); err != nil {
		t.Error(err)
	}
	if names := namesIn(t, dir); len(names) > 0 {
		t.Errorf("left behind: %q", names)
	}
	if tryFile("/proc") == nil || tryFile("/sys") == nil {
		t.Error("a file was made in /proc or /sys")
	}
}
