package admin

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
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

// Connections that have a part of a header, or of a handshake, keep no scraper out.
func TestUnfinishedHeadersKeepNobodyOut(t *testing.T) {
	s := lingerServer(t, "127.0.0.1:0", nil)
	for _, part := range []string{"G", "GET /healthz HTTP/1.1\r\nA: b\r\n"} {
		var open []net.Conn
		for range maxConns {
			c := s.dial(t)
			_, _ = io.WriteString(c, part)
			open = append(open, c)
		}
		for range 2 * maxConns {
			c := s.dial(t)
			_, _ = io.WriteString(c, get("/healthz", "Connection: close"))
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
				t.Fatalf("beside %d times %q: %+v, %v", len(open), part, res, err)
			}
			_ = c.Close()
		}
	}
}

// TestUnfinishedBodiesKeepNobodyOut: a request whose body does not come has its answer all the same.
func TestUnfinishedBodiesKeepNobodyOut(t *testing.T) {
	for _, c := range []struct {
		request string
		status  int
	}{
		{get("/healthz", "Content-Length: 5"), 200},
		{get("/healthz", "Content-Length: 5") + "1234", 200},
		{get("/ledger", "Transfer-Encoding: chunked") + "5\r\n", 200},
		{"PUT /loglevel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", 400},
	} {
		s := lingerServer(t, "127.0.0.1:0", nil)
		var open []net.Conn
		for range maxConns {
			conn := s.dial(t)
			_, _ = io.WriteString(conn, c.request)
			open = append(open, conn)
		}
		for _, conn := range open {
			if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != c.status {
				t.Fatalf("%q: %+v, %v", c.request, res, err)
			}
		}
	}
}

// TestABodyThatIsWaitedForHoldsNoPlace: a newcomer has its answer before a PUT has its body.
func TestABodyThatIsWaitedForHoldsNoPlace(t *testing.T) {
	s := lingerServer(t, "127.0.0.1:0", nil)
	s.conns.bodyTime = time.Hour
	for range maxConns + extraConns {
		_, _ = io.WriteString(s.dial(t), "PUT /loglevel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\ninf")
	}
	for range 2 * maxConns {
		c := s.dial(t)
		_, _ = io.WriteString(c, get("/ledger", "Connection: close"))
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
			t.Fatalf("%+v, %v", res, err)
		}
		_ = c.Close()
	}
}

// pipes is a listener whose connections hold nothing of an answer that is not read.
type pipes struct {
	net.Listener // only its address
	conns        chan net.Conn
	ended        context.Context
	end          context.CancelFunc
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended.Done():
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	p.end()
	return p.Listener.Close()
}

func (p pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// TestUnreadAnswersKeepNobodyOut: clients that ask and do not read what they get give their places to newcomers.
func TestUnreadAnswersKeepNobodyOut(t *testing.T) {
	ln := pipes{conns: make(chan net.Conn)}
	ln.ended, ln.end = context.WithCancel(context.Background())
	s := lingerServer(t, "127.0.0.1:0", nil, func(s *Server) {
		s.conns.unreadTime, s.http.WriteTimeout = time.Nanosecond, 0
		ln.Listener = s.ln
		s.ln = ln
	})
	for range maxConns + extraConns {
		c := ln.dial()
		defer c.Close()
		_, _ = io.WriteString(c, get("/healthz"))
	}
	until(t, "none of them reads", func() bool {
		s.conns.mu.Lock()
		defer s.conns.mu.Unlock()
		n := 0
		for _, c := range s.conns.busy {
			if c.writing.Load() != 0 {
				n++
			}
		}
		return n == maxConns+extraConns
	})
	for range 2 * maxConns {
		c := ln.dial()
		_, _ = io.WriteString(c, get("/healthz", "Connection: close"))
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
			t.Fatalf("%+v, %v", res, err)
		}
		_ = c.Close()
	}
}

// TestReadBodyKeepsTheConnection: behind a body that came with its header the connection goes on.
func TestReadBodyKeepsTheConnection(t *testing.T) {
	c := lingerServer(t, "127.0.0.1:0", nil).dial(t)
	br := bufio.NewReader(c)
	for range 3 {
		_, _ = io.WriteString(c, get("/healthz", "Content-Length: 5")+"12345")
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != 200 || res.Close {
			t.Fatalf("%+v, %v", res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
}

// TestNetHTTPDoesNotHoldAPlace: net/http waits for half a second behind some answers. The connection lingers already
// then, and a newcomer can take its place at once.
func TestNetHTTPDoesNotHoldAPlace(t *testing.T) {
	for name, request := range map[string]string{
		"large fields": get("/", "X: "+strings.Repeat("x", 20_000)),
		"a large body": get("/healthz", "Content-Length: 9999999"),
		"a long word":  "PUT /loglevel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n" + strings.Repeat("x", 1000),
		"many fields":  get("/", strings.Repeat("a: b\r\n", 5000)),
	} {
		s := lingerServer(t, "127.0.0.1:0", nil)
		c := s.dial(t)
		_, _ = io.WriteString(c, request)
		if text, err := io.ReadAll(c); err != nil || len(text) == 0 {
			t.Fatalf("%s: %q, %v", name, text, err)
		}
		if all, ending := s.conns.count(); all != 1 || ending != 1 {
			t.Errorf("%s: %d connections, %d linger", name, all, ending)
		}
	}
}

// While as many requests as may be are being answered, further ones get 503, except those of probes.
func TestTooManyRequestsAreTold(t *testing.T) {
	d := deps(func() error { return nil })
	begun, release := make(chan struct{}, maxConns), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	d.Metrics = func(io.Writer) error { begun <- struct{}{}; <-release; return nil }
	base, client := run(t, Config{}, d)
	t.Cleanup(letGo)
	answered := make(chan int, maxConns)
	for range maxConns {
		go func() {
			res, err := client.Get(base + "/metrics")
			if err != nil {
				answered <- 0
				return
			}
			_ = res.Body.Close()
			answered <- res.StatusCode
		}()
	}
	for range maxConns {
		<-begun
	}
	for range 3 * extraConns {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		if res, _ := ask(t, &c, http.MethodGet, base+"/healthz"); res.StatusCode != 200 {
			t.Errorf("a probe: %d", res.StatusCode)
		}
		res, err := c.Get(base + "/ledger")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "16") {
			t.Errorf("%+v: %s", res, text)
		}
	}
	letGo()
	for range maxConns {
		if got := <-answered; got != 200 {
			t.Errorf("one of those that were there: %d", got)
		}
	}
	if res, _ := ask(t, client, http.MethodGet, base+"/healthz"); res.StatusCode != 200 {
		t.Errorf("afterwards: %d", res.StatusCode)
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
