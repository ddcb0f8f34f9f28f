package sdnotify

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestMessages(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@ingest-test-" + strconv.Itoa(os.Getpid())} {
		socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		_ = socket.SetReadDeadline(time.Now().Add(30 * time.Second))
		c := New(environment("NOTIFY_SOCKET", name))
		for _, tt := range []struct {
			say  func() error
			want string
		}{{c.Ready, "READY=1"}, {c.Reloading, "RELOADING=1\nMONOTONIC_USEC="}, {c.Stopping, "STOPPING=1"}, {c.Watchdog, "WATCHDOG=1"}} {
			before := monotonicMicroseconds()
			if err := tt.say(); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			rest, ok := strings.CutPrefix(string(buf[:n]), tt.want)
			if !ok {
				t.Errorf("%q, want %q", buf[:n], tt.want)
			}
			if strings.HasPrefix(tt.want, "RELOADING") {
				if at, err := strconv.ParseInt(rest, 10, 64); err != nil || at < before || at > monotonicMicroseconds() {
					t.Errorf("the reload began at %q", rest)
				}
			}
		}
	}
}

// A manager that cannot be told is an error of each notice, also when its queue is full; without a manager there is
// nothing to tell.
func TestNobodyListens(t *testing.T) {
	full := filepath.Join(t.TempDir(), "full")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: full, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for n := 0; New(environment("NOTIFY_SOCKET", full)).Ready() == nil; n++ {
		if n == 100_000 {
			t.Fatal("the queue of the socket never fills")
		}
	}
	for name, told := range map[string]bool{
		"": true, full: false, "vsock:2:1": false, "notify": false, file: false, "/" + strings.Repeat("n", 200): false,
		filepath.Join(t.TempDir(), "none"): false, "@ingest-none-" + strconv.Itoa(os.Getpid()): false,
	} {
		c := New(environment("NOTIFY_SOCKET", name))
		for _, say := range []func() error{c.Ready, c.Reloading, c.Stopping, c.Watchdog} {
			if err := say(); (err == nil) != told {
				t.Errorf("NOTIFY_SOCKET=%q: %v", name, err)
			}
		}
		if c.WatchdogEvery() != 0 {
			t.Errorf("NOTIFY_SOCKET=%q: a watchdog", name)
		}
	}
}

func TestWatchdogEvery(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{{"3000000", me, 3 * time.Second}, {"3000000", "1", 0}, {"-1", me, 0}, {"x", me, 0}, {"0", me, 0}, {"99999999999999", me, 0}} {
		c := New(environment("NOTIFY_SOCKET", "/x", "WATCHDOG_USEC", tt.usec, "WATCHDOG_PID", tt.pid))
		if got := c.WatchdogEvery(); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
	if got := New(environment("NOTIFY_SOCKET", "/x", "WATCHDOG_USEC", "1000")).WatchdogEvery(); got != time.Millisecond {
		t.Errorf("without a pid: %s", got)
	}
}
