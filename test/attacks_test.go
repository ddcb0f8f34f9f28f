package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A thousand connections that send headers, admin requests or invocation events of the costly kind: the process stays
// within its memory limit and 8 MiB, a well-behaved client is served at once, and the ledger is exact.
func TestMemoryLimitHoldsAgainstHeaders(t *testing.T) {
	fields := strings.Repeat("a:b\r\n", 800)
	for _, limit := range []int64{32, 64} {
		for _, c := range []struct {
			name, text string
			admin      bool
		}{
			{"tiny fields without an end", "POST / HTTP/1.1\r\nHost: x\r\n" + fields, false},
			{"tiny fields", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + fields + "\r\n[]", false},
			{"tiny fields behind a request", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]POST / HTTP/1.1\r\nHost: x\r\n" + fields, false},
			{"tiny fields in a trailer", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n" + strings.Repeat("a:b\r\n", 1600), false},
			{"fields of 8 kB, and hardly a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n" + strings.Repeat("a:"+strings.Repeat("b", 155)+"\r\n", 48) + "\r\n[", false},
			{"8 kB of header", "POST / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 8000), false},
			{"slow invocation events", "POST /extension/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("x", 65000), false},
			{"1 MB of header", "GET /ledger HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1_000_000), true},
			{"tiny fields", "GET /ledger HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a:b\r\n", 1600), true},
		} {
			t.Run(fmt.Sprintf("%d MiB, admin %v, %s", limit, c.admin, c.name), func(t *testing.T) {
				p := serveToNull(t, "--memory-limit", fmt.Sprintf("%dMiB", limit))
				addr := p.Listen
				if c.admin {
					addr = p.Admin
				}
				var all, pressing sync.WaitGroup
				stop, pressed := make(chan struct{}), make(chan struct{})
				for range 100 {
					pressing.Add(1)
					all.Go(func() { flood(addr, c.text, 10, pressing.Done, stop) })
				}
				all.Go(func() { pressing.Wait(); close(pressed) })
				served, longest := 0, time.Duration(0)
				for last := time.Now().Add(time.Minute); (served == 0 || !closed(pressed)) && time.Now().Before(last); {
					began := time.Now()
					served += goodPost(t, p.URL("/"))
					longest = max(longest, time.Since(began))
				}
				close(stop)
				all.Wait()
				if served == 0 {
					t.Error("a well-behaved client was not served")
				}
				peak, err := p.PeakRSS()
				must(t, err)
				code, l := p.MustStop(t)
				t.Logf("peak RSS %.1f MiB over the limit; %d good deliveries, the slowest in %v; refused %v", float64(peak)/(1<<20)-float64(limit), served, longest, l.Bodies.Refused)
				if peak > (limit+8)<<20 {
					t.Errorf("peak RSS %d, limit %d MiB and 8 MiB", peak, limit)
				}
				if l.Balance() != nil || l.Delivered < int64(served) || code != 0 {
					t.Errorf("exit %d, %d served, ledger %+v", code, served, *l)
				}
			})
		}
	}
}

// floodRounds is how often a flood looks after each of its connections until it counts as pressing.
const floodRounds = 4

// flood keeps n connections that have sent text open until stop, and makes new ones for those that are closed. It calls
// pressing once.
func flood(addr, text string, n int, pressing func(), stop chan struct{}) {
	open := make([]net.Conn, n)
	for look := 0; ; look++ {
		if closed(stop) {
			for _, c := range open {
				if c != nil {
					_ = c.Close()
				}
			}
			if look <= floodRounds*n {
				pressing()
			}
			return
		}
		if look == floodRounds*n {
			pressing()
		}
		i := look % n
		if c := open[i]; c != nil {
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				_ = c.Close()
				open[i] = nil
			}
			continue
		}
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			continue
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c, text) // it may be refused in the middle
		open[i] = c
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// goodPost is a client that posts over a new connection, and once more where a newcomer has taken its place.
func goodPost(t *testing.T, url string) int {
	t.Helper()
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 3 {
		res, err := c.Post(url, "application/json", strings.NewReader(`[{"good":1}]`))
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode == 200 {
			return 1
		}
	}
	return 0
}
