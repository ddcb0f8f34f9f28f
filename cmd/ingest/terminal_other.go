//go:build !linux

package main

import (
	"io"
	"os"
)

// isTerminal: elsewhere progress is lines.
func isTerminal(io.Writer) bool { return false }

// terminalSize is the size that every terminal has.
func terminalSize(io.Writer) (width, height int) { return 80, 24 }

// keyByKey: elsewhere keys come with the end of their line.
func keyByKey(*os.File) (restore func()) { return func() {} }
