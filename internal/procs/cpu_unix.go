//go:build unix

package procs

import (
	"syscall"
	"time"
)

// CPUTime is what the process has used up, in user mode and in the kernel; 0: not known.
func CPUTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
