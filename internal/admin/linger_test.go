package admin

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/internal/tlsconf"
	"functiongraph-ingest/internal/tlsconf/tlstest"
)

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// lingerServer is a server whose lingers last until the client has closed, and which waits for requests for ever; edit may
// change it before it serves.
func lingerServer(t *testing.T, addr string, secure *tlsconf.Server, edit ...func(*Server)) *Server {
	t.Helper()
	d := deps(func() error { return nil })
	d.Log, d.Level, d.TLS = slog.New(slog.DiscardHandler), logging.NewLevel("info"), secure
	s := New(Config{Addr: addr, SocketMode: 0o600}, d)
	s.http.ReadTimeout = 0
	s.conns.lingerTime, s.conns.lastLinger = time.Minute, time.Minute
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	for _, f := range edit {
		f(s)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *Server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial(s.Addr().Network(), s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// count returns how many connections have a place, and how many of them linger.
func (c *conns) count() (all, ending int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, len(c.ending)
}

func get(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(fields, "\r\n"), "\r\n")
}

// TestBytesBehindTheEndTakeNoAnswer: what a client still sends when its connection is ended is no reason for a reset,
// which makes its kernel throw away the answer that it has not read.
func TestBytesBehindTheEndTakeNoAnswer(t *testing.T) {
	ca := tlstest.CA(t, "ca")
	own := ca.Issue(t, "server", tlstest.Hosts("127.0.0.1"))
	secure, err := tlsconf.NewServer(tlsconf.ServerSettings{Name: "--admin-tls", Cert: []string{tlstest.Write(t, "both.pem", own.CertPEM(), own.KeyPEM())}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put := "PUT /loglevel HTTP/1.1\r\nHost: localhost\r\n"
	for way, client := range map[string]*tls.Config{"plain": nil, "unix": nil, "TLS": {RootCAs: ca.Pool(), ServerName: "127.0.0.1"}} {
		for _, e := range []struct {
			name, request string
			status        int
			end           func(*Server) // when the answer is out; nil: the request ends the connection
		}{
			{"close", get("/ledger", "Connection: close"), 200, nil},
			{"HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", 200, nil},
			{"not found, close", get("/nope", "Connection: close"), 404, nil},
			{"no HTTP", "hello\r\n\r\n", 400, nil},
			{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, nil},
			{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, nil},
			{"an unknown coding", get("/", "Transfer-Encoding: identity"), 501, nil},
			{"an unknown expectation", get("/", "Expect: tea"), 417, nil},
			{"another method, close", "DELETE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405, nil},
			{"large fields", get("/", "X: "+strings.Repeat("x", 20_000)), 431, nil},
			{"a long word", put + "Content-Length: 9999999\r\n\r\n" + strings.Repeat("x", 1000), 400, nil},
			{"a large body that nothing reads", get("/healthz", "Content-Length: 9999999"), 200, nil},
			{"shutdown", get("/healthz"), 200, func(s *Server) { go func() { _ = s.Shutdown(context.Background()) }() }},
		} {
			t.Run(way+", "+e.name, func(t *testing.T) {
				addr, own := "127.0.0.1:0", (*tlsconf.Server)(nil)
				switch way {
				case "unix":
					addr = "unix:" + filepath.Join(t.TempDir(), "s")
				case "TLS":
					own = secure
				}
				s := lingerServer(t, addr, own)
				raw := s.dial(t)
				conn := raw
				if client != nil {
					conn = tls.Client(raw, client)
				}
				_, _ = io.WriteString(conn, e.request)
				br := bufio.NewReader(conn)
				if e.end != nil {
					if _, err := br.Peek(1); err != nil {
						t.Fatal(err)
					}
					e.end(s)
				}
				until(t, "it is ended", func() bool { all, ending := s.conns.count(); return ending == 1 || all == 0 })
				for range 3 {
					if _, err := io.WriteString(conn, get("/healthz")); err != nil {
						t.Errorf("the write before was answered with a reset: %v", err)
					}
				}
				resp, err := http.ReadResponse(br, nil)
				if err != nil || resp.StatusCode != e.status {
					t.Fatalf("%+v, %v", resp, err)
				}
				if _, err = io.ReadAll(resp.Body); err != nil {
					t.Error(err)
				}
				if _, err := br.ReadByte(); err != io.EOF {
					t.Errorf("behind the answer: %v", err)
				}
				_ = raw.Close()
				until(t, "its place is free", func() bool { all, _ := s.conns.count(); return all == 0 })
			})
		}
	}
}

// TestLingerIsBounded: a client that sends for ever is cut off, and lingers keep no newcomer out.
func TestLingerIsBounded(t *testing.T) {
	s := lingerServer(t, "127.0.0.1:0", nil)
	endless := s.dial(t)
	_, _ = io.WriteString(endless, get("/healthz", "Content-Length: 99999999999"))
	n, block := 0, strings.Repeat("x", 64<<10)
	for ; n < 1<<30; n += len(block) {
		if _, err := io.WriteString(endless, block); err != nil {
			break
		}
	}
	if n >= 1<<30 {
		t.Error("the server took 1 GiB of a body that it does not read")
	}
	until(t, "the connection is gone", func() bool { all, _ := s.conns.count(); return all == 0 })

	for range maxConns {
		_, _ = io.WriteString(s.dial(t), get("/healthz", "Connection: close"))
	}
	until(t, "all places linger", func() bool { _, ending := s.conns.count(); return ending == maxConns })
	for range 2 * maxConns {
		c := s.dial(t)
		_, _ = io.WriteString(c, get("/healthz", "Connection: close"))
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%+v, %v", resp, err)
		}
	}
	s.conns.mu.Lock()
	s.conns.lastLinger = time.Millisecond // the others have not closed
	s.conns.mu.Unlock()
}
