package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal asks the kernel for the line settings, which only a terminal has: /dev/null is a character
// device too.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
