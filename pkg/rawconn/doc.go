// Package rawconn reads and writes connections of TCP and of Unix sockets without telling Go's scheduler that a thread is in the
// kernel.
//
// Why: before an ordinary system call the runtime wakes its monitor (sysmon) if that sleeps, which it does
// whenever all processors were idle for a moment. The monitor then looks every 20 us whether a processor has
// to be taken from a thread that stays in the kernel, until all are idle again. A process that does a little a
// thousand times a second wakes it a thousand times, and a thread that wakes and sleeps costs as much as a
// small request: a quarter of all CPU time at 100,000 events per second.
//
// A read or a write of a socket that does not block never stays in the kernel. All that takes time in it is
// copying, so one call copies at most [most] bytes. Every [nth] call is left to package net: the monitor also
// preempts goroutines that run for more than 10 ms and polls the network when no other thread does, so under load it must
// be awake.
//
// Deadlines, Close and waiting for readiness are the net package's: the calls are made through
// [syscall.RawConn]. The race detector learns of happens-before edges between processes' sockets from the
// ordinary calls, so with it, and on other systems than Linux, a Conn is what it was made of.
package rawconn

import (
	"net"
	"syscall"
)

// Stream is a [net.TCPConn] or a [net.UnixConn] of a stream. Reads and writes go past it, except every nth.
type Stream interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

const (
	most = 256 << 10 // bytes in one call
	nth  = 256       // of the calls in one direction of a connection
)
