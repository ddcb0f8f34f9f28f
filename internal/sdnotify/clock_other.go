//go:build !linux

package sdnotify

// monotonicMicroseconds is not asked for: systemd runs on Linux.
func monotonicMicroseconds() int64 { return 0 }
