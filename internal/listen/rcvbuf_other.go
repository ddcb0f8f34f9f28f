//go:build !unix

package listen

import "syscall"

func limitReceiveBuffer(_, _ string, _ syscall.RawConn) error { return nil }
