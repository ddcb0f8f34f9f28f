package socket

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	ln, err := Listen("unix:"+path, 0o620)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o620 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("%v, %v", info, err)
	}
	if got := Text(ln.Addr()); got != "unix:"+path {
		t.Error(got)
	}
	if _, err := Listen("unix:"+path, 0o600); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the second listener: %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A killed process leaves its socket, which is replaced; the listener that is replaced removes nothing of the other's.
func TestLeftBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := Listen("unix:"+path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.(*unixListener).UnixListener.Close(); err != nil { // as a kill does
		t.Fatal(err)
	}
	next, err := Listen("unix:"+path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_ = old.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error("the old listener removed the new one's socket")
	}
	_ = next.Close()
}

func TestNoSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	file, link, folder := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "folder")
	if err := errors.Join(os.WriteFile(file, []byte("mine"), 0o600), os.Symlink(file, link), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, folder, filepath.Join(dir, "missing", "s"), filepath.Join(dir, strings.Repeat("x", 200))} {
		if ln, err := Listen("unix:"+path, 0o600); err == nil {
			t.Errorf("%s was taken", path)
			_ = ln.Close()
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 3 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true, "127.9.9.9:80": true, "unix:/run/s": true,
		"0.0.0.0:1": false, ":1": false, "10.0.0.1:1": false, "[::]:1": false, "example.org:1": false, "": false,
	} {
		if got := Loopback(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

// TestIPv4Only: 0.0.0.0 was listened on as [::], past a firewall of IPv4.
func TestIPv4Only(t *testing.T) {
	for _, host := range []string{"0.0.0.0", "[::ffff:0.0.0.0]"} {
		ln, err := Listen(host+":0", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := ln.Addr().String(); !strings.HasPrefix(got, "0.0.0.0:") {
			t.Errorf("%q: listens on %s", host, got)
		}
		_ = ln.Close()
	}
	six, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return // this machine has no IPv6
	}
	_ = six.Close()
	for host, want := range map[string][2]bool{ // answered on 127.0.0.1, on [::1]
		"0.0.0.0": {true, false}, "127.0.0.1": {true, false}, "localhost": {true, false}, "[::ffff:0.0.0.0]": {true, false},
		"": {true, true}, "[::]": {true, true}, "[::1]": {false, true},
	} {
		ln, err := Listen(host+":0", 0)
		if err != nil {
			t.Errorf("%q: %v", host, err)
			continue
		}
		port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
		var got [2]bool
		for i, to := range []string{"127.0.0.1", "::1"} {
			if c, err := net.Dial("tcp", net.JoinHostPort(to, port)); err == nil {
				got[i] = true
				_ = c.Close()
			}
		}
		if got != want {
			t.Errorf("%q: answers on 127.0.0.1 and [::1]: %v, want %v", host, got, want)
		}
		// What Overlap says is what the kernel does.
		for _, other := range []string{"127.0.0.1", "0.0.0.0", "[::1]", "[::]", ""} {
			a, b := host+":"+port, other+":"+port
			second, err := Listen(b, 0)
			if err == nil {
				_ = second.Close()
			}
			if Overlap(a, b) != (err != nil) || Overlap(b, a) != Overlap(a, b) {
				t.Errorf("Overlap(%q, %q) is %v; the kernel: %v", a, b, Overlap(a, b), err)
			}
		}
		_ = ln.Close()
	}
}
