package main

import (
	"os"
	"path/filepath"
	"testing"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/spool"
)

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

// A process that uses the spool is found also where its lock file was removed.
func TestFindsTheProcessThatUsesTheSpool(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	uses := func() bool {
		var l findings
		l.spool(&config.Config{SpoolDir: dir})
		return l.told(levelFailed, "is in use by process")
	}
	if !uses() {
		t.Error("the process is not found")
	}
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if !uses() {
		t.Error("without the lock file the process is not found")
	}
	if err := s.Close(); err != nil || uses() {
		t.Errorf("after its end it is found, %v", err)
	}
}
