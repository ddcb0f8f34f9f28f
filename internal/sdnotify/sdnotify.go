// Package sdnotify tells systemd how a service is, by sd_notify(3): a datagram with a few assignments to the Unix
// socket that NOTIFY_SOCKET names.
package sdnotify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Conn is the way to the service manager. All methods of a nil Conn do nothing.
type Conn struct {
	addr  *net.UnixAddr
	watch time.Duration
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID by lookup, os.LookupEnv for example. It returns nil when
// nothing wants to be told. A name that begins with @ is of the abstract namespace.
func New(lookup func(string) (string, bool)) *Conn {
	name, _ := lookup("NOTIFY_SOCKET")
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") {
		return nil
	}
	c := &Conn{addr: &net.UnixAddr{Name: name, Net: "unixgram"}}
	if pid, ok := lookup("WATCHDOG_PID"); !ok || pid == strconv.Itoa(os.Getpid()) {
		usec, _ := lookup("WATCHDOG_USEC")
		if n, err := strconv.ParseUint(usec, 10, 63); err == nil && n <= uint64(24*time.Hour/time.Microsecond) {
			c.watch = time.Duration(n) * time.Microsecond
		}
	}
	return c
}

// WatchdogEvery is how often Watchdog must be called at least, or the service is killed; 0: never.
func (c *Conn) WatchdogEvery() time.Duration {
	if c == nil {
		return 0
	}
	return c.watch
}

// Ready says that the service has started, or has reloaded.
func (c *Conn) Ready() { c.send("READY=1") }

// Reloading says that a reload begins; Ready ends it.
func (c *Conn) Reloading() {
	c.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonicMicroseconds()))
}

// Stopping says that the service ends.
func (c *Conn) Stopping() { c.send("STOPPING=1") }

// Watchdog says that the service is alive.
func (c *Conn) Watchdog() { c.send("WATCHDOG=1") }

// send does not wait: a service manager that does not read must not stop the service.
func (c *Conn) send(state string) {
	if c == nil {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, c.addr)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write([]byte(state))
}
