package faults

import (
	"fmt"
	"syscall"
)

// mountTmpfs needs root.
func mountTmpfs(at string, size int64) error {
	return syscall.Mount("tmpfs", at, "tmpfs", 0, fmt.Sprintf("size=%d", size))
}

func unmount(at string) error { return syscall.Unmount(at, 0) }
