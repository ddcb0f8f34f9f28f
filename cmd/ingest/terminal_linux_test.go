package main

import (
	"bytes"
	"os"
	"testing"
)

// A character device need not be a terminal.
func TestIsTerminal(t *testing.T) {
	for name, want := range map[string]bool{os.DevNull: false, "/dev/ptmx": true} {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if isTerminal(f) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	if isTerminal(&bytes.Buffer{}) {
		t.Error("a buffer passes for a terminal")
	}
}
