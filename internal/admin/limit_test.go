package admin

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Connections that are open and ask for nothing keep no scraper out, and hold next to nothing.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	base, _ := run(t, Config{}, deps(func() error { return nil }))
	addr := strings.TrimPrefix(base, "http://")
	for range 300 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 10 {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
		res, err := c.Get("http://" + addr + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%d", res.StatusCode)
		}
	}
}

func TestLargeHeaderIsRefused(t *testing.T) {
	base, client := run(t, Config{}, deps(func() error { return nil }))
	for size, want := range map[int]int{3000: 200, 20_000: 431} {
		req, _ := http.NewRequest(http.MethodGet, base+"/healthz", nil)
		req.Header.Set("X", strings.Repeat("x", size))
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes: %d", size, res.StatusCode)
		}
	}
}

// A name that points to a loopback address is no way in for a web page.
func TestForeignHostIsRefused(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:9180": true, "[::1]:9180": true, "localhost": true, "LOCALHOST:1": true, "localhost.": true, "": true, "10.1.2.3:80": true,
		"probe.example": true, "Probe.Example:9180": true,
		"evil.example": false, "evil.example:9180": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "127.1": false, "[evil]": false,
	} {
		if got := hostAllowed(host, []string{"probe.example"}); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	base, client := run(t, Config{}, deps(func() error { return nil }))
	for host, want := range map[string]int{"evil.example": 403, "127.0.0.1": 200} {
		req, _ := http.NewRequest(http.MethodGet, base+"/healthz", nil)
		req.Host = host
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d", host, res.StatusCode)
		}
	}
}
