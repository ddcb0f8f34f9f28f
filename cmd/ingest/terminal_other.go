//go:build !linux

package main

import "io"

// isTerminal: elsewhere progress is lines.
func isTerminal(io.Writer) bool { return false }
