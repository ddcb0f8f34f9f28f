//go:build unix

package config

import "syscall"

// descriptors is RLIMIT_NOFILE. The Go runtime has raised it to the hard limit.
func descriptors() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(uint64(l.Cur), 1<<30))
}
