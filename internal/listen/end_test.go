package listen

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"
)

// endings are the ways in which this server ends a connection behind an answer.
var endings = []struct {
	name, request string
	status        int
	end           func(*rig) // what ends it, when the answer is out; nil: the request does
	ticks         uint64     // that pass until it is ended
}{
	{"close", post("/", "[1]", "Connection: close"), 200, nil, 0},
	{"HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n[1]", 200, nil, 0},
	{"chunked, close", postLine + chunkedTE + "Connection: close\r\n\r\n3\r\n[1]\r\n0\r\n\r\n", 200, nil, 0},
	{"an event, close", post("/extension/invoke", "{}", "Connection: close"), 200, nil, 0},
	{"a refusal, close", post("/nope", "[1]", "Connection: close"), 404, nil, 0},
	{"no length, close", postLine + "Connection: close\r\n\r\n", 411, nil, 0},
	{"no HTTP", "hello\r\n\r\n", 400, nil, 0},
	{"too large", postLine + "Content-Length: 99999999\r\n\r\nx", 413, nil, 0},
	{"too many fields", withFields(99) + "\r\n", 431, nil, 0},
	{"Expect, refused", "POST /nope HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", 404, nil, 0},
	{"shutdown", post("/", "[1]"), 200, func(r *rig) { go func() { _ = r.srv.Shutdown(r.t.Context()) }() }, 0},
	{"idle for long", post("/", "[1]"), 200, func(*rig) {}, 10},
	{"old", post("/", "[1]"), 200, func(*rig) {}, 2000},
	{"replaced", post("/", "[1]"), 200, func(r *rig) { r.dialRaw() }, 0},
}

// TestBytesBehindTheEndTakeNoAnswer: bytes that come when the server has ended a connection are no reason for a reset,
// which makes many a client's kernel, or a client whose write fails, throw an answer away that was not read. It counts
// the answers that arrive without one.
func TestBytesBehindTheEndTakeNoAnswer(t *testing.T) {
	secure, config := secured(t, false)
	old := config.Clone()
	old.MaxVersion = tls.VersionTLS12
	unix := func(_ *rig, c *Config, _ *body.RoomConfig) { c.Addr = "unix:" + filepath.Join(t.TempDir(), "s") }
	for name, way := range map[string]struct {
		opt    option
		config *tls.Config
	}{"plain": {}, "unix": {opt: unix}, "TLS 1.3": {secure, config}, "TLS 1.2": {secure, old}} {
		for _, e := range endings {
			t.Run(name+", "+e.name, func(t *testing.T) {
				const tries = 2
				arrived := 0
				for range tries {
					opts := []option{withConfig(func(c *Config) {
						c.MaxConnAge, c.IdleTimeout = 1000*time.Second, 30*time.Second
						if e.name == "replaced" {
							c.MaxConns = 1
						}
					})}
					if way.opt != nil {
						opts = append(opts, way.opt)
					}
					r := start(t, opts...)
					r.srv.lastLinger = time.Minute
					raw := r.dialRaw()
					conn := raw
					if way.config != nil {
						conn = tls.Client(raw, way.config)
					}
					_, _ = io.WriteString(conn, e.request)
					if e.end != nil {
						until(t, "it is answered", func() bool { return len(r.taken()) == 1 && r.inPhase(idle)+r.inPhase(asleep) == 1 })
						e.end(r)
					}
					until(t, "it is ended", func() bool {
						if r.inPhase(closing) == 0 {
							r.pass(e.ticks)
						}
						st := r.srv.Stats()
						return r.inPhase(closing) == 1 || st.OpenConns+st.TurnedAway == 0 || st.Replaced == 1 && st.TurnedAway == 0
					})
					failed := error(nil)
					for range 3 {
						if _, err := io.WriteString(conn, post("/", "[2]")); err != nil {
							failed = err // the one before was answered with a reset
						}
					}
					br := bufio.NewReader(conn)
					if resp, err := http.ReadResponse(br, nil); err == nil && resp.StatusCode == e.status && failed == nil {
						_, err = io.ReadAll(resp.Body)
						if _, end := br.ReadByte(); err == nil && end == io.EOF {
							arrived++
						}
					}
					_ = raw.Close()
				}
				if arrived != tries {
					t.Errorf("%d of %d answers arrived", arrived, tries)
				}
			})
		}
	}
}

// dialRaw is dial for an address of either kind.
func (r *rig) dialRaw() net.Conn {
	r.t.Helper()
	network, addr := "tcp", r.addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	nc, err := net.Dial(network, addr)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second)) // a hang must end as a failure
	r.t.Cleanup(func() { _ = nc.Close() })
	return nc
}

// TestLingeringHoldsNoPlace: connections that the server has ended and the client has not leave their places to others.
func TestLingeringHoldsNoPlace(t *testing.T) {
	const places = 8
	r := start(t, withConfig(func(c *Config) { c.MaxConns, c.KeepUsed = places, true }))
	r.srv.lingerTime = time.Hour
	for i := range 10 * places {
		cl := r.dial()
		cl.send(post("/", fmt.Sprintf("[%d]", i), "Connection: close"))
		if got := cl.reply(); got.status != 200 {
			t.Fatalf("after %d others: %+v", i, got)
		}
		cl.closed()
	}
	st := r.srv.Stats()
	if st.OpenConns > places || st.TurnedAway > leastTurnedAway || st.Replaced != 0 || st.Refused["too_many_connections"] != 0 {
		t.Errorf("%+v", st)
	}
}

// TestTurnedAwayLeaveTheirPlaces: those that were turned away and stay do not keep others from an answer of their own.
func TestTurnedAwayLeaveTheirPlaces(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.MaxConns, c.KeepUsed = 1, true }))
	r.srv.lingerTime = time.Hour
	served := r.dial()
	served.send(post("/", "[]"))
	served.reply()
	for i := range 10 * leastTurnedAway {
		cl := r.dial()
		cl.send(post("/extension/invoke", "{}"))
		if got := cl.reply(); got.status != 200 { // 503 from refuseAtOnce
			t.Fatalf("after %d others: %+v", i, got)
		}
		cl.closed()
	}
}

// TestShutdownWaitsForNoLinger: a client that does not close holds no shutdown up.
func TestShutdownWaitsForNoLinger(t *testing.T) {
	r := start(t)
	r.srv.lingerTime = time.Hour
	for _, request := range []string{post("/", "[1]", "Connection: close"), post("/", "[1]"), "hello\r\n\r\n"} {
		cl := r.dial()
		cl.send(request)
		cl.reply()
	}
	until(t, "two linger", func() bool { return r.srv.Stats().Lingering == 2 && r.inPhase(closing) == 2 })
	if err := r.srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
