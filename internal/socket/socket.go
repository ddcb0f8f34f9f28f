// Package socket listens on the addresses that settings name: host:port, and unix:/path for a socket in the file
// system, which needs no port and which file modes guard.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const unixPrefix = "unix:"

// UnixPath returns the path of unix:/path.
func UnixPath(address string) (path string, ok bool) { return strings.CutPrefix(address, unixPrefix) }

// MaxPath is the longest path of a Unix socket. The kernel has room for 107 bytes, and a socket is made in a folder
// of its own beside its place, see Listen.
const MaxPath = 90

// Loopback reports whether only this machine reaches address.
func Loopback(address string) bool {
	if _, ok := UnixPath(address); ok {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}

// Overlap reports whether one process cannot listen on both addresses: they are the same, or one of two with the same
// port stands for all addresses of the machine, or all of IPv4. Port 0 is a free one.
func Overlap(a, b string) bool {
	pathA, unixA := UnixPath(a)
	pathB, unixB := UnixPath(b)
	if unixA || unixB {
		return unixA && unixB && filepath.Clean(pathA) == filepath.Clean(pathB)
	}
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	local := func(host string) string {
		if strings.EqualFold(host, "localhost") {
			return "127.0.0.1"
		}
		return host
	}
	// An address of IPv6 only is in the way of none that is of IPv4 only. Names may be either.
	if network(a) == "tcp4" && sixOnly(hostB) || network(b) == "tcp4" && sixOnly(hostA) {
		return false
	}
	every := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	return local(hostA) == local(hostB) || every(hostA) || every(hostB)
}

// sixOnly reports whether host is an IPv6 address that stands for itself alone; [::] takes IPv4 too.
func sixOnly(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.To4() == nil && !ip.IsUnspecified()
}

// network is what an address of host:port is listened on in. Without it Go listens on [::] where 0.0.0.0 is asked for,
// which takes IPv6 too: a firewall that knows IPv4 only would not cover that.
func network(address string) string {
	host, _, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); ip != nil && ip.To4() != nil {
		return "tcp4"
	}
	return "tcp"
}

// Listen takes an address. Of host:port, 0.0.0.0 stands for all IPv4 addresses; no host, or [::], for those of IPv6 too.
// mode is that of a Unix socket; to connect needs the right to write. A socket that a
// process left behind is replaced; one that is answered is an error, and so is a file that is no socket.
func Listen(address string, mode fs.FileMode) (net.Listener, error) {
	if path, ok := UnixPath(address); ok {
		return listenUnix(path, mode)
	}
	// Multipath TCP, Go's default for listeners, buys nothing here and costs a second socket per connection. Idle
	// peers are found by idle timeouts, not by keep-alive probes.
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), network(address), address)
}

// InUse is why path cannot be taken for a Unix socket; nil: it can.
func InUse(path string) error {
	const patience = time.Second // of a listener whose queue is full
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket", path)
	}
	c, err := net.DialTimeout("unix", path, patience)
	switch {
	case err == nil:
		_ = c.Close()
		return &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil // left behind
	}
	return err
}

// listenUnix makes the socket in a closed folder and renames it into its place. So it has its mode when it can be
// reached for the first time, and what was left behind is replaced in one step.
func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if len(path) > MaxPath {
		return nil, fmt.Errorf("the path of a Unix socket has at most %d bytes", MaxPath)
	}
	if err := InUse(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".i")
	if err != nil {
		return nil, err
	}
	defer os.Remove(dir)
	first := filepath.Join(dir, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: first, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	u := &unixListener{UnixListener: ln, path: path}
	if err = os.Chmod(first, mode.Perm()); err == nil {
		if u.info, err = os.Lstat(first); err == nil {
			err = os.Rename(first, path)
		}
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close(), os.Remove(first))
	}
	return u, nil
}

// unixListener removes its socket when it is closed, unless another process has replaced it.
type unixListener struct {
	*net.UnixListener
	path string
	info os.FileInfo
	once sync.Once
}

// Addr is the path that was asked for.
func (u *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: u.path, Net: "unix"} }

// Close implements net.Listener.
func (u *unixListener) Close() error {
	u.once.Do(func() {
		if info, err := os.Lstat(u.path); err == nil && os.SameFile(info, u.info) {
			_ = os.Remove(u.path)
		}
	})
	return u.UnixListener.Close()
}

// Text is the address that a listener has, as settings write it.
func Text(a net.Addr) string {
	if a.Network() == "unix" {
		return unixPrefix + a.String()
	}
	return a.String()
}
