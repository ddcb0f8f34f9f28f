package listen

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/internal/bearer"
	"functiongraph-ingest/internal/body"
)

// TestWebPagesMayNotPost holds the rules of net/http's CrossOriginProtection, the exceptions of --cors-origin, and the
// Host that a browser has to have sent to a loopback address.
func TestWebPagesMayNotPost(t *testing.T) {
	const allowed = "https://app.example"
	for _, tt := range []struct {
		name, host string
		fields     []string
		status     int
		reason     string
	}{
		{"curl", "127.0.0.1:8080", nil, 200, ""},
		{"a client with any Host", "ingest.internal", nil, 200, ""},
		{"same origin", "127.0.0.1:8080", []string{"Origin: http://127.0.0.1:8080", "Sec-Fetch-Site: same-origin"}, 200, ""},
		{"same origin, old browser", "localhost:8080", []string{"Origin: http://localhost:8080"}, 200, ""},
		{"same origin, IPv6", "[::1]:8080", []string{"Origin: http://[::1]:8080"}, 200, ""},
		{"typed by hand", "127.0.0.1", []string{"Sec-Fetch-Site: none"}, 200, ""},
		{"cross site", "127.0.0.1:8080", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 403, "cross_site"},
		{"same site", "127.0.0.1:8080", []string{"Sec-Fetch-Site: same-site"}, 403, "cross_site"},
		{"a word that is not known", "127.0.0.1:8080", []string{"Sec-Fetch-Site: Same-Origin"}, 403, "cross_site"},
		{"in small letters", "127.0.0.1:8080", []string{"sec-fetch-site: cross-site"}, 403, "cross_site"},
		{"foreign Origin, old browser", "127.0.0.1:8080", []string{"Origin: https://evil.example"}, 403, "cross_site"},
		{"another port", "127.0.0.1:8080", []string{"Origin: http://127.0.0.1:3000"}, 403, "cross_site"},
		{"null", "127.0.0.1:8080", []string{"Origin: null"}, 403, "cross_site"},
		{"no origin", "127.0.0.1:8080", []string{"Origin: x"}, 403, "cross_site"},
		{"rebinding", "evil.example:8080", []string{"Origin: http://evil.example:8080", "Sec-Fetch-Site: same-origin"}, 403, "foreign_host"},
		{"rebinding, old browser", "evil.example:8080", []string{"Origin: http://evil.example:8080"}, 403, "foreign_host"},
		{"a name that begins well", "127.0.0.1.evil.example", []string{"Origin: http://127.0.0.1.evil.example"}, 403, "foreign_host"},
		{"localhost of somebody", "localhost.evil.example", []string{"Sec-Fetch-Site: same-origin"}, 403, "foreign_host"},
		{"allowed", "127.0.0.1:8080", []string{"Origin: " + allowed, "Sec-Fetch-Site: cross-site"}, 200, ""},
		{"allowed, in capitals", "127.0.0.1:8080", []string{"Origin: HTTPS://APP.example"}, 200, ""},
		{"allowed, by its name", "app.example", []string{"Origin: " + allowed, "Sec-Fetch-Site: same-origin"}, 200, ""},
		{"nearly allowed", "127.0.0.1:8080", []string{"Origin: " + allowed + ".evil.example"}, 403, "cross_site"},
	} {
		for _, expect := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/expect=%v", tt.name, expect), func(t *testing.T) {
				r := start(t, withConfig(func(c *Config) { c.CORSOrigins = []string{allowed} }))
				cl := r.dial()
				fields := tt.fields
				if expect {
					fields = append(fields[:len(fields):len(fields)], "Expect: 100-continue")
				}
				cl.send(strings.Replace(post("/", "[1]", fields...), "Host: x", "Host: "+tt.host, 1))
				got := cl.reply()
				if got.status == 100 {
					got = cl.reply()
				}
				if got.status != tt.status || len(r.taken()) != min(1, 200/tt.status) {
					t.Errorf("%+v", got)
				}
				if n := r.srv.Stats().Refused[tt.reason]; tt.reason != "" && n != 1 {
					t.Errorf("counted %d times", n)
				}
				if name := got.header.Get("Access-Control-Allow-Origin"); (name != "") != strings.HasPrefix(tt.name, "allowed") || got.header.Get("Vary") != "Origin" {
					t.Errorf("%v", got.header)
				}
			})
		}
	}
}

func TestPreflight(t *testing.T) {
	ask := func(origin string) string {
		return "OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: " + origin + "\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
	}
	for _, tt := range []struct {
		allowed []string
		origin  string
		status  int
	}{
		{[]string{"https://app.example"}, "https://app.example", 204},
		{[]string{"https://app.example"}, "https://evil.example", 405},
		{[]string{AnyOrigin}, "https://evil.example", 204},
		{nil, "https://app.example", 405},
	} {
		// A preflight never has a token.
		r := start(t, withConfig(func(c *Config) { c.CORSOrigins = tt.allowed }), withTokens(t, "alpha"))
		cl := r.dial()
		cl.send(ask(tt.origin))
		got := cl.reply()
		if tt.status == 405 {
			tt.status = 401 // without a token nothing more is told
		}
		if got.status != tt.status {
			t.Errorf("%v, %s: %+v", tt.allowed, tt.origin, got)
		}
		h := got.header
		if tt.status == 204 && (h.Get("Access-Control-Allow-Origin") != tt.origin || h.Get("Access-Control-Allow-Methods") != "POST" ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Content-Type") || len(got.body) != 0) {
			t.Errorf("%v", h)
		}
		cl.send(post("/", "[1]", "Authorization: Bearer alpha")) // the connection goes on
		if got := cl.reply(); got.status != 200 {
			t.Errorf("%+v", got)
		}
	}
}

func withTokens(t *testing.T, tokens ...string) option {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(strings.Join(tokens, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	known, err := bearer.New(path)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *rig, _ *Config, _ *body.RoomConfig) {
		r.deps.Tokens, r.deps.Refresh = known, func() { _ = known.Load() }
	}
}

// TestTokens: without one nothing is read and nothing told, whatever is asked for.
func TestTokens(t *testing.T) {
	r := start(t, withTokens(t, "alpha", "beta"))
	cl := r.dial()
	for _, step := range []struct {
		request string
		status  int
	}{
		{post("/", "[1]"), 401},
		{post("/", "[1]", "Authorization: Bearer gamma"), 401},
		{post("/", "[1]", "Authorization: Basic YWxwaGE6"), 401},
		{post("/nope", "[1]"), 401},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 401},
		{post("/", "[2]", "Authorization: Bearer alpha"), 200},
		{post("/", "[3]", "authorization: bearer beta"), 200},
		{post("/nope", "[4]", "Authorization: Bearer alpha"), 404},
		{post("/", strings.Repeat("x", 100<<10)), 401},
		{post("/", "[5]", "Authorization: Bearer beta"), 200},
		{"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 401}, // and closes
	} {
		cl.send(step.request)
		if got := cl.reply(); got.status != step.status || (step.status == 401) != (got.header.Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%.80q: %+v", step.request, got)
		}
	}
	if got := strings.Join(r.taken(), ""); got != "[2][3][5]" {
		t.Error(got)
	}
	if n := r.srv.Stats().Refused["unauthorized"]; n != 7 {
		t.Errorf("%d counted", n)
	}
}

// TestTokensBehindExpect: a request that waits for a 100 is judged by the tokens of now too.
func TestTokensBehindExpect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(token string) {
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alpha")
	known, err := bearer.New(path)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, func(r *rig, _ *Config, _ *body.RoomConfig) {
		r.deps.Tokens, r.deps.Refresh = known, func() { _ = known.Load() }
	})
	write("gamma")
	r.srv.lastDate.Store(&dateLine{}) // another second has begun
	cl := r.dial()
	cl.send("POST / HTTP/1.1\r\n" + expectHead + "Authorization: Bearer gamma\r\nContent-Length: 2\r\n\r\n")
	if got := cl.reply(); got.status != 100 {
		t.Errorf("%+v", got)
	}
}

// TestHealthForBalancers: probes have no token, and get nothing but the two answers.
func TestHealthForBalancers(t *testing.T) {
	ready := 503
	health := func(r *rig, _ *Config, _ *body.RoomConfig) {
		r.deps.Health = func(path string) (int, []byte, bool) {
			return ready, []byte(path), path == "/readyz" || path == "/healthz"
		}
	}
	r := start(t, health, withTokens(t, "alpha"))
	cl := r.dial()
	for _, step := range []struct {
		request, path string
		status        int
	}{
		{"GET /readyz HTTP/1.1\r\nHost: evil.example\r\n\r\n", "/readyz", 503},
		{"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "", 503},
		{"GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "/healthz", 503},
		{"GET /ledger HTTP/1.1\r\nHost: x\r\n\r\n", "unauthorized", 401},
		{post("/readyz", "[1]"), "unauthorized", 401},
		{post("/", "[1]", "Authorization: Bearer alpha"), "", 200},
		{"GET /readyz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", "/readyz", 503}, // and closes
	} {
		cl.send(step.request)
		var got reply
		if strings.HasPrefix(step.request, "HEAD") {
			got = cl.replyTo("HEAD")
		} else {
			got = cl.reply()
		}
		if got.status != step.status || !strings.HasPrefix(got.body, step.path) {
			t.Errorf("%.40q: %+v", step.request, got)
		}
	}
	if n := r.srv.Stats().Refused["method"]; n != 0 {
		t.Errorf("probes are counted as refused: %d", n)
	}
	cl = start(t).dial()
	cl.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := cl.reply(); got.status != 404 {
		t.Errorf("not asked for: %+v", got)
	}
}
