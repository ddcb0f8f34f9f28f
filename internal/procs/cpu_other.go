//go:build !unix

package procs

import "time"

// CPUTime is what the process has used up; 0: not known.
func CPUTime() time.Duration { return 0 }
