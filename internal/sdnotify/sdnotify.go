// Package sdnotify tells systemd how a service is, by sd_notify(3): a datagram with a few assignments to the Unix
// socket that NOTIFY_SOCKET names.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// patience bounds how long a notice waits for a service manager that does not read.
const patience = 100 * time.Millisecond

// Conn is the way to the service manager. All methods of a nil Conn do nothing and return no error.
type Conn struct {
	name  string
	watch time.Duration
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID by lookup, os.LookupEnv for example. It returns nil when
// no manager wants to be told. A name that begins with @ is of the abstract namespace.
func New(lookup func(string) (string, bool)) *Conn {
	name, _ := lookup("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	c := &Conn{name: name}
	if pid, ok := lookup("WATCHDOG_PID"); !ok || pid == strconv.Itoa(os.Getpid()) {
		usec, _ := lookup("WATCHDOG_USEC")
		if n, err := strconv.ParseUint(usec, 10, 63); err == nil && n <= uint64(24*time.Hour/time.Microsecond) {
			c.watch = time.Duration(n) * time.Microsecond
		}
	}
	return c
}

// WatchdogEvery is the longest pause between two calls of Watchdog before the manager kills the service; 0: it never does.
func (c *Conn) WatchdogEvery() time.Duration {
	if c == nil {
		return 0
	}
	return c.watch
}

// Ready says that the service has started, or has reloaded. An error means that the manager was not told; the same
// holds for the other notices.
func (c *Conn) Ready() error { return c.send("READY=1") }

// Reloading says that a reload begins; Ready ends it.
func (c *Conn) Reloading() error {
	return c.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonicMicroseconds()))
}

// Stopping says that the service ends.
func (c *Conn) Stopping() error { return c.send("STOPPING=1") }

// Watchdog says that the service is alive.
func (c *Conn) Watchdog() error { return c.send("WATCHDOG=1") }

// send waits for patience at most: a manager that does not read must not stop the service.
func (c *Conn) send(state string) error {
	if c == nil {
		return nil
	}
	if !strings.HasPrefix(c.name, "/") && !strings.HasPrefix(c.name, "@") {
		return fmt.Errorf("NOTIFY_SOCKET=%q is neither an absolute path nor begins with @", c.name)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: c.name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(patience)) // fails only on a closed one
	_, err = conn.Write([]byte(state))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the socket %s has no reader", c.name)
	}
	return err
}
