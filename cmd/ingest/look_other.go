//go:build !linux

package main

import "os"

// Elsewhere than on Linux these questions have no answer before a start.
func writable(path string) error {
	_, err := os.Stat(path)
	return err
}

func foreignOwner(string) (uid int, foreign bool) { return 0, false }

func lockHolder(string) (pid string, held bool) { return "", false }
