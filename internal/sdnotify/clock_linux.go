package sdnotify

import "golang.org/x/sys/unix"

// monotonicMicroseconds is CLOCK_MONOTONIC, by which systemd orders reloads.
func monotonicMicroseconds() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail: the clock exists
	return t.Nano() / 1000
}
