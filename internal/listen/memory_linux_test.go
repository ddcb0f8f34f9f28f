package listen

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkConnMemory reports what one of a thousand connections costs in each state, without the
// body in flight, which the gate counts. The clients are bare descriptors, so that all of Go's memory
// that is seen to grow is the server's. Run it with -benchtime 1x.
func BenchmarkConnMemory(b *testing.B) {
	for _, state := range []string{"fresh", "idle", "asleep", "waiting"} {
		b.Run(state, func(b *testing.B) {
			for b.Loop() {
				measureConns(b, state)
			}
		})
	}
}

type usage struct{ heap, stack, rss float64 }

func memoryNow(tb testing.TB) usage {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		tb.Skip(err)
	}
	var size, rss int
	if _, err := fmt.Sscan(string(raw), &size, &rss); err != nil {
		tb.Fatal(err)
	}
	return usage{float64(m.HeapAlloc), float64(m.StackInuse), float64(rss * os.Getpagesize())}
}

func measureConns(b *testing.B, state string) {
	r := start(b, withGate(2*crowd, 64<<20), withOutcome(outcome{events: 1, never: state == "waiting"}),
		withConfig(func(c *Config) { c.ReadTimeout = 4 * time.Second })) // half a second a tick

	addr, err := net.ResolveTCPAddr("tcp", r.addr)
	if err != nil {
		b.Fatal(err)
	}
	to := &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}
	request := []byte(post("/", "["+strings.Repeat(" ", 200)+"]"))
	before := memoryNow(b)
	fds := make([]int, crowd)
	for i := range fds {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer syscall.Close(fd)
		fds[i] = fd
		if err := syscall.Connect(fd, to); err != nil {
			b.Fatal(err)
		}
		if state == "fresh" {
			continue
		}
		if _, err := syscall.Write(fd, request); err != nil {
			b.Fatal(err)
		}
	}
	answer := make([]byte, 512)
	for _, fd := range fds {
		if state == "idle" || state == "asleep" {
			if _, err := syscall.Read(fd, answer); err != nil {
				b.Fatal(err)
			}
		}
	}
	until(b, "all are there", func() bool {
		st := r.srv.Stats()
		if state == "asleep" {
			return r.inPhase(asleep) == crowd
		}
		return st.OpenConns == crowd && (state != "waiting" || st.WaitingAcks == crowd)
	})
	after := memoryNow(b)
	b.ReportMetric((after.heap-before.heap)/crowd, "heap-B/conn")
	b.ReportMetric((after.stack-before.stack)/crowd, "stack-B/conn")
	b.ReportMetric((after.rss-before.rss)/crowd, "rss-B/conn")
	b.ReportMetric(0, "ns/op")
}
