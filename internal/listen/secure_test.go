package listen

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/internal/tlsconf"
	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/pkg/rawconn"
)

// secured makes a rig take TLS. With mutual, clients have to show a certificate of the authority.
func secured(t testing.TB, mutual bool) (option, *tls.Config) {
	t.Helper()
	ca := tlstest.CA(t, "ca")
	own, me := ca.Issue(t, "server", tlstest.Hosts("127.0.0.1")), ca.Issue(t, "client")
	settings := tlsconf.ServerSettings{Name: "--listen-tls", Cert: []string{tlstest.Write(t, "both.pem", own.CertPEM(), own.KeyPEM())}}
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1"}
	if mutual {
		settings.ClientCA = []string{tlstest.Write(t, "ca.pem", ca.CertPEM())}
		client.Certificates = []tls.Certificate{me.TLS()}
	}
	server, err := tlsconf.NewServer(settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *rig, _ *Config, _ *body.RoomConfig) { r.deps.TLS = server }, client
}

// secureClient is a connection of a client with TLS.
type secureClient struct {
	t  testing.TB
	nc *tls.Conn
	br *bufio.Reader
}

func (r *rig) dialTLS(c *tls.Config) *secureClient {
	r.t.Helper()
	nc, err := tls.Dial("tcp", r.addr, c)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	r.t.Cleanup(func() { _ = nc.Close() })
	return &secureClient{r.t, nc, bufio.NewReader(nc)}
}

func (c *secureClient) do(request string) reply {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, request); err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b), resp.Close}
}

// TestTLS takes bodies of every way through TLS, and keeps the connection over refusals and sleep.
func TestTLS(t *testing.T) {
	for _, mutual := range []bool{false, true} {
		t.Run(fmt.Sprintf("mutual=%v", mutual), func(t *testing.T) {
			opt, config := secured(t, mutual)
			r := start(t, opt)
			c := r.dialTLS(config)
			long := `["` + strings.Repeat("x", 300<<10) + `"]`
			var zipped bytes.Buffer
			z := gzip.NewWriter(&zipped)
			_, _ = z.Write([]byte(long))
			_ = z.Close()
			for _, step := range []struct {
				name, request string
				status        int
			}{
				{"short", post("/", "[1]"), 200},
				{"long", post("/", long), 200},
				{"chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[2]\r\n0\r\n\r\n", 200},
				{"compressed", post("/", zipped.String(), "Content-Encoding: gzip"), 200},
				{"refused, skipped", post("/nope", long[:200<<10]), 404},
				{"after it", post("/", "[3]"), 200},
				{"two at once", post("/", "[4]") + post("/", "[5]"), 200},
			} {
				if got := c.do(step.request); got.status != step.status {
					t.Fatalf("%s: %+v", step.name, got)
				}
			}
			if got := c.do(""); got.status != 200 { // the second one
				t.Fatalf("%+v", got)
			}
			if canSleep {
				until(t, "it is idle", func() bool { return r.inPhase(idle) == 1 })
				r.pass(dozeTicks + 1)
				until(t, "it sleeps", func() bool { return r.inPhase(asleep) == 1 })
			}
			if got := c.do(post("/", "[6]")); got.status != 200 {
				t.Fatalf("%+v", got)
			}
			want := []string{"[1]", long, "[2]", long, "[3]", "[4]", "[5]", "[6]"}
			if got := r.taken(); len(got) != len(want) || strings.Join(got, "") != strings.Join(want, "") {
				t.Errorf("%d bodies", len(got))
			}
		})
	}
}

// TestTLSRefusesWhoShowsNothing: nothing of a client without a certificate reaches a handler; without TLS it is told.
func TestTLSRefusesWhoShowsNothing(t *testing.T) {
	opt, config := secured(t, true)
	r := start(t, opt)
	config.Certificates = nil
	if nc, err := tls.Dial("tcp", r.addr, config); err == nil {
		_, _ = io.WriteString(nc, post("/", "[1]"))
		if _, err := io.ReadAll(nc); err == nil {
			t.Error("it was answered")
		}
		_ = nc.Close()
	}
	cl := r.dial()
	cl.send(post("/", "[1]"))
	if got := cl.reply(); got.status != 400 || !strings.Contains(got.body, "https") {
		t.Errorf("%+v", got)
	}
	until(t, "both are counted", func() bool { return r.srv.Stats().Refused["tls_handshake"] == 2 })
	if got := r.taken(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestTLSRecordThatNeverEnds: bytes of a record that does not end do not renew the idle timeout.
func TestTLSRecordThatNeverEnds(t *testing.T) {
	if !canSleep {
		t.Skip("connections do not sleep here")
	}
	opt, config := secured(t, false)
	r := start(t, opt, withConfig(func(c *Config) { c.IdleTimeout = 30 * time.Second }))
	r.srv.lingerTime = lingerTime
	cl := r.dialTLS(config)
	cl.do(post("/", "[1]"))
	raw := cl.nc.NetConn()
	_, _ = raw.Write([]byte{0x17, 3, 3, 0x40, 0})
	until(t, "the answer is behind it", func() bool { return r.inPhase(idle)+r.inPhase(asleep) == 1 })
	most := 3 * int(r.srv.limits.idle+r.srv.limits.asleep)
	for ticks := 0; r.srv.Stats().OpenConns > 0 && r.inPhase(closing) == 0; ticks++ {
		if ticks > most {
			t.Fatalf("it is open after %d ticks", ticks)
		}
		_, _ = raw.Write([]byte{0})
		until(t, "it was read", func() bool { return r.inPhase(asleep)+r.inPhase(idle) == 0 || r.settled() })
		r.pass(1)
		until(t, "it rests", func() bool {
			return r.inPhase(asleep)+r.inPhase(idle) == 0 || r.settled()
		})
	}
}

// settled reports whether no deadline has fired that its connection has not noticed, and all that came was read.
func (r *rig) settled() bool {
	ok := true
	r.srv.conns.each(func(c *conn) { ok = ok && c.state.Load()&fired == 0 && c.Queued() == 0 })
	return ok
}

// TestPlainHTTPToTLS: a client without TLS that sends a long body is told so, and no reset takes it.
func TestPlainHTTPToTLS(t *testing.T) {
	opt, _ := secured(t, false)
	r := start(t, opt)
	for range 5 {
		cl := r.dial()
		cl.send(post("/", strings.Repeat("x", 200<<10)))
		if got := cl.reply(); got.status != 400 || !strings.Contains(got.body, "https") {
			t.Errorf("%+v", got)
		}
		_ = cl.Close()
	}
}

// TestTLSLongRefusal: a client that sends a body that is too large sees the 413, as without TLS.
func TestTLSLongRefusal(t *testing.T) {
	opt, config := secured(t, false)
	r := start(t, opt, withConfig(func(c *Config) { c.MaxBodyBytes = 64 << 10 }))
	for range 5 {
		c := r.dialTLS(config)
		if got := c.do(post("/", strings.Repeat("x", 200<<10))); got.status != 413 {
			t.Errorf("%+v", got)
		}
		_ = c.nc.Close()
	}
}

// TestTLSHandshakeThatDoesNotEnd ends with the read timeout, and Shutdown does not wait for it.
func TestTLSHandshakeThatDoesNotEnd(t *testing.T) {
	opt, _ := secured(t, false)
	r := start(t, opt)
	slow, stuck := r.dial(), r.dial()
	for _, c := range []*client{slow, stuck} {
		c.send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") // a ClientHello begins
	}
	until(t, "both are in the handshake", func() bool { return r.inPhase(reading) == 2 })
	r.pass(r.srv.limits.read + 1)
	for _, c := range []*client{slow, stuck} {
		if _, err := io.ReadAll(c); isTimeout(err) {
			t.Error("it is still open")
		}
	}
}

// TestTLSTurnedAway: a connection beyond --max-conns hears so through TLS.
func TestTLSTurnedAway(t *testing.T) {
	opt, config := secured(t, false)
	r := start(t, opt, withConfig(func(c *Config) { c.MaxConns, c.KeepUsed = 1, true }))
	first := r.dialTLS(config)
	first.do(post("/", "[1]"))
	if got := r.dialTLS(config).do(post("/", "[2]")); got.status != 503 {
		t.Errorf("%+v", got)
	}
}

// TestUnixSocket takes deliveries, and a browser's rules do not hold there: none reaches it.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := start(t, withConfig(func(c *Config) { c.Addr, c.SocketMode = "unix:"+path, 0o600 }))
	if r.addr != "unix:"+path {
		t.Error(r.addr)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	long := `["` + strings.Repeat("x", 1<<20) + `"]`
	for _, step := range []struct {
		path, body string
		status     int
	}{{"/", "[1]", 200}, {"/", long, 200}, {"/nope", long[:100<<10], 404}, {"/nope", long, 404}, {"/", "[2]", 200}} {
		res, err := client.Post("http://anything"+step.path, "application/json", strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != step.status {
			t.Errorf("%.20q: %d", step.body, res.StatusCode)
		}
	}
	if canSleep {
		until(t, "it is idle", func() bool { return r.inPhase(idle) > 0 })
		r.pass(dozeTicks + 1)
		until(t, "it sleeps", func() bool { return r.inPhase(asleep) > 0 })
	}
	if res, err := client.Post("http://anything/", "", strings.NewReader("[3]")); err != nil || res.StatusCode != 200 {
		t.Error(err)
	}
	if got := len(r.taken()); got != 4 {
		t.Errorf("%d bodies", got)
	}
}

// TestTLSEndBehindARequest: a client that says that it sends no more, right behind its requests, gets their answers, as
// it does without TLS. With TLS 1.2 package tls tells of that end together with the last bytes.
func TestTLSEndBehindARequest(t *testing.T) {
	const inChunks = postLine + chunkedTE + "\r\n3\r\n[1]\r\n0\r\n\r\n"
	opt, config := secured(t, false)
	config.MaxVersion = tls.VersionTLS12
	r := start(t, opt)
	for name, requests := range map[string][]string{
		"known length": {post("/", "[1]")}, "chunked": {inChunks}, "an event": {eventLine + chunkedTE + "\r\n2\r\n{}\r\n0\r\n\r\n"},
		"several": {inChunks, post("/", "[1]"), inChunks}, "long": {post("/", "["+strings.Repeat(" ", 20_000)+"]")},
	} {
		t.Run(name, func(t *testing.T) {
			held := &heldConn{Conn: r.dialFor(t).TCPConn}
			nc := tls.Client(held, config)
			if err := nc.Handshake(); err != nil {
				t.Fatal(err)
			}
			held.hold = true
			_, _ = io.WriteString(nc, strings.Join(requests, ""))
			_ = nc.CloseWrite()
			held.release()
			br := bufio.NewReader(nc)
			for range requests {
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
					t.Errorf("%d, %v", resp.StatusCode, err)
				}
			}
		})
	}
}

// heldConn writes nothing while hold is set, and then all at once. Package tls forbids writes behind its last one by a
// deadline.
type heldConn struct {
	net.Conn
	hold bool
	held []byte
}

func (h *heldConn) Write(p []byte) (int, error) {
	if h.hold {
		h.held = append(h.held, p...)
		return len(p), nil
	}
	return h.Conn.Write(p)
}

func (h *heldConn) release() { _, _ = h.Conn.Write(h.held) }

func (h *heldConn) SetWriteDeadline(time.Time) error { return nil }

// alerted counts the deadlines that are set for writes alone, of each connection. Package tls sets one before it tells
// that a connection ends.
type alerted struct {
	net.Listener
	conns chan *alertedConn // the next ones
}

type alertedConn struct {
	rawconn.Stream
	n atomic.Int64
}

func (l *alerted) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &alertedConn{Stream: nc.(rawconn.Stream)}
	select {
	case l.conns <- c:
	default:
	}
	return c, nil
}

func (c *alertedConn) SetWriteDeadline(at time.Time) error {
	c.n.Add(1)
	return c.Stream.SetWriteDeadline(at)
}

// TestTLSUnreadAnswersAreLeft: a client that reads no answers is not told that its connection ends: package tls would
// wait for it, and its place with it.
func TestTLSUnreadAnswersAreLeft(t *testing.T) {
	secure, config := secured(t, false)
	oneForLong := withConfig(func(c *Config) { c.MaxConns, c.ReadTimeout = 1, time.Hour })
	r := start(t, secure, withTestTicks(), withQueue(), oneForLong)
	ln := &alerted{r.srv.ln, make(chan *alertedConn, 2)}
	r.srv.ln = ln
	r.accept()
	ask := func() int {
		cl := r.dialTLS(config)
		defer cl.nc.Close()
		return cl.do(post("/", "[]", "Connection: close")).status
	}
	ask()
	until(t, "it is gone", func() bool { return r.srv.Stats().OpenConns == 0 })
	if (<-ln.conns).n.Load() == 0 {
		t.Fatal("this test would see nothing")
	}
	r.pourUnread(r.dialTLS(config).nc)
	until(t, "a newcomer has its place", func() bool { // the client may have taken some answers meanwhile
		until(t, "none is turned away any more", func() bool { return r.srv.Stats().TurnedAway == 0 })
		r.pass(11)
		return ask() == 200
	})
	until(t, "it is gone", func() bool { st := r.srv.Stats(); return st.Replaced == 1 && st.TurnedAway == 0 })
	if n := (<-ln.conns).n.Load(); n != 0 {
		t.Errorf("%d deadlines of package tls", n)
	}
}

// TestFailedHandshakeIsCountedOnce: a connection that is turned away because all places are taken is counted as such,
// whatever becomes of its handshake.
func TestFailedHandshakeIsCountedOnce(t *testing.T) {
	secure, config := secured(t, false)
	r := start(t, secure, withConfig(func(c *Config) { c.MaxConns = 1 }), withHold())
	_, _ = io.WriteString(r.dialTLS(config).nc, post("/", "[]"))
	until(t, "it waits for its ack", func() bool { return r.srv.Stats().WaitingAcks == 1 })
	cl := r.dial()
	cl.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := cl.reply(); got.status != 400 {
		t.Errorf("%+v", got)
	}
	_ = cl.Close()
	until(t, "it is gone", func() bool { return r.srv.Stats().TurnedAway == 0 })
	if got := r.srv.Stats().Refused; len(got) != 1 || got["too_many_connections"] != 1 {
		t.Errorf("%v", got)
	}
}
