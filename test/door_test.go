package test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/test/internal/freeport"
	"functiongraph-ingest/test/proc"
)

// visitor is a client of one address. It dials anew for each request.
type visitor struct {
	http.Client
	base, token string
}

// at visits an address with TLS of c, or without if it is nil. A path is that of a Unix socket.
func at(address string, c *tls.Config, token string) *visitor {
	v := &visitor{base: "http://" + address, token: token}
	tr := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}
	if c != nil {
		v.base = "https://" + address
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		v.base = "http://unix"
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	}
	v.Client = http.Client{Timeout: 30 * time.Second, Transport: tr}
	return v
}

// status is of an answer; 0: there is none.
func (v *visitor) status(method, path, body string) int {
	req, err := http.NewRequest(method, v.base+path, strings.NewReader(body))
	if err != nil {
		return 0
	}
	if v.token != "" {
		req.Header.Set("Authorization", "Bearer "+v.token)
	}
	res, err := v.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

// becomes waits until an answer has a status.
func (v *visitor) becomes(t *testing.T, want int, method, path, body string) {
	t.Helper()
	got := -1
	for ctx := patient(t); got != want; time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("%s %s: %d, want %d", method, v.base+path, got, want)
		}
		got = v.status(method, path, body)
	}
}

// The listener and the admin address take TLS with clients' certificates and tokens. All of it is renewed while the
// process runs, and what cannot be used leaves what was there.
func TestDoorsAreGuardedAndTheirKeysRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, clients, others := tlstest.CA(t, "ca"), tlstest.CA(t, "clients"), tlstest.CA(t, "others")
	file := func(name string, content ...[]byte) string { // as tools do that renew files: all at once
		path := filepath.Join(dir, name)
		must(t, os.Rename(tlstest.Write(t, "new", content...), path))
		return path
	}
	server := func(name string) [][]byte {
		p := ca.Issue(t, name, tlstest.Hosts("127.0.0.1"))
		return [][]byte{p.CertPEM(), p.KeyPEM()}
	}
	cert, authorities := file("cert.pem", server("first")...), file("clients.pem", clients.CertPEM())
	tokens, adminTokens := file("tokens", []byte("alpha\n")), file("admin-tokens", []byte("scrape\n"))
	client := func(issuer *tlstest.Pair) *tls.Config {
		c := &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1"}
		if issuer != nil {
			c.Certificates = []tls.Certificate{issuer.Issue(t, "me").TLS()}
		}
		return c
	}
	output := filepath.Join(dir, "events")
	p, err := proc.Launch(proc.Options{Bin: proc.Build(t), Args: []string{"serve", "--sink=ndjson", "--output", output, "--listen={listen}", "--admin={admin}",
		"--listen-tls-cert", cert, "--listen-tls-client-ca", authorities, "--listen-token-file", tokens, "--listen-health",
		"--admin-tls-cert", cert, "--admin-token-file", adminTokens}})
	must(t, err)
	t.Cleanup(func() { _ = p.Close() })

	good := at(p.Listen, client(clients), "alpha")
	good.becomes(t, 200, "GET", "/readyz", "")
	for _, c := range []struct {
		name string
		v    *visitor
		want int
	}{
		{"certificate and token", good, 200},
		{"no token", at(p.Listen, client(clients), ""), 401},
		{"wrong token", at(p.Listen, client(clients), "alphb"), 401},
		{"the other door's token", at(p.Listen, client(clients), "scrape"), 401},
		{"no certificate", at(p.Listen, client(nil), "alpha"), 0},
		{"another authority", at(p.Listen, client(others), "alpha"), 0},
		{"no TLS", at(p.Listen, nil, "alpha"), 400},
	} {
		if got := c.v.status("POST", "/", `[{"from":"`+c.name+`"}]`); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	admin := at(p.Admin, client(nil), "scrape")
	for path, want := range map[string][2]int{"/ledger": {200, 401}, "/metrics": {200, 401}, "/status": {200, 401}, "/healthz": {200, 200}, "/readyz": {200, 200}, "/none": {404, 401}} {
		if got := admin.status("GET", path, ""); got != want[0] {
			t.Errorf("admin %s: %d", path, got)
		}
		if got := at(p.Admin, client(nil), "").status("GET", path, ""); got != want[1] {
			t.Errorf("admin %s without a token: %d", path, got)
		}
	}

	// Tokens, clients' authority and certificate change; no signal is needed.
	file("tokens", []byte("alpha\nbeta\n"))
	at(p.Listen, client(clients), "beta").becomes(t, 200, "POST", "/", `[{"n":1}]`)
	file("tokens", []byte("beta\n"))
	good.becomes(t, 401, "POST", "/", `[{"n":2}]`)
	file("clients.pem", others.CertPEM())
	at(p.Listen, client(others), "beta").becomes(t, 200, "POST", "/", `[{"n":3}]`)
	good.becomes(t, 0, "POST", "/", `[{"n":4}]`)
	name := func() string {
		c, err := tls.Dial("tcp", p.Admin, client(nil))
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	file("cert.pem", server("second")...)
	for ctx := patient(t); name() != "second"; time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("the certificate is that of %s", name())
		}
	}
	// What cannot be used is told of on SIGHUP, and the process goes on.
	file("cert.pem", []byte("broken"))
	file("tokens", []byte("\n"))
	must(t, p.Signal(syscall.SIGHUP))
	for ctx := patient(t); strings.Count(p.Stderr(), "cannot be used") < 3; time.Sleep(20 * time.Millisecond) { // both doors have the certificate
		if ctx.Err() != nil {
			t.Fatalf("the log says\n%s", p.Stderr())
		}
	}
	if got := at(p.Listen, client(others), "beta").status("POST", "/", `[{"n":5}]`); got != 200 {
		t.Errorf("after a renewal that failed: %d", got)
	}
	must(t, p.Signal(syscall.SIGTERM))
	code, err := p.Wait(context.Background())
	events, _ := os.ReadFile(output)
	if err != nil || code != 0 || strings.Contains(string(events), "wrong") || strings.Contains(p.Stderr(), "alpha") || strings.Contains(p.Stderr(), "scrape") {
		t.Errorf("exit %d, %v; events\n%s\nlog\n%s", code, err, events, p.Stderr())
	}
}

// Both addresses are Unix sockets with the mode that was asked for. A process that was killed leaves them behind, the
// next one takes them over, and a second one beside it does not.
func TestUnixSockets(t *testing.T) {
	dir := t.TempDir()
	listen, admin := "unix:"+filepath.Join(dir, "i"), "unix:"+filepath.Join(dir, "a")
	start := func() *proc.Process {
		p, err := proc.Launch(proc.Options{Bin: proc.Build(t), Args: []string{"serve", "--sink=ndjson", "--output", filepath.Join(dir, "events"), "--listen", listen, "--admin", admin, "--socket-mode=0600"}})
		must(t, err)
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	first := start()
	at(admin, nil, "").becomes(t, 200, "GET", "/readyz", "")
	if got := at(listen, nil, "").status("POST", "/", `[{"n":1}]`); got != 200 {
		t.Errorf("%d", got)
	}
	for _, name := range []string{"i", "a"} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	if code, err := start().Wait(t.Context()); err != nil || code == 0 {
		t.Errorf("a second process: exit %d, %v", code, err)
	}
	if got := at(listen, nil, "").status("POST", "/", `[{"n":2}]`); got != 200 {
		t.Errorf("beside a second process: %d", got)
	}
	must(t, first.Signal(syscall.SIGKILL))
	_, _ = first.Wait(t.Context())
	last := start()
	at(admin, nil, "").becomes(t, 200, "GET", "/readyz", "")
	at(listen, nil, "").becomes(t, 200, "POST", "/", `[{"n":3}]`)
	must(t, last.Signal(syscall.SIGTERM))
	if code, err := last.Wait(t.Context()); err != nil || code != 0 {
		t.Errorf("exit %d, %v: %s", code, err, last.Stderr())
	}
	for _, name := range []string{"i", "a"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind: %v", name, err)
		}
	}
}

// A listener that others reach and nothing guards is a warning.
func TestUnguardedListenerIsAWarning(t *testing.T) {
	free, err := freeport.Take(1)
	must(t, err)
	_, port, _ := net.SplitHostPort(free[0])
	for listen, want := range map[string]bool{"0.0.0.0:" + port: true, "127.0.0.1:" + port: false} {
		p, err := proc.Launch(proc.Options{Bin: proc.Build(t), Args: []string{"serve", "--sink=ndjson", "--output=/dev/null", "--listen", listen, "--admin={admin}"}})
		must(t, err)
		at(p.Admin, nil, "").becomes(t, 200, "GET", "/readyz", "")
		if got := strings.Contains(p.Stderr(), "everybody who reaches it"); got != want {
			t.Errorf("%s:\n%s", listen, p.Stderr())
		}
		_ = p.Close()
	}
}

// With --drain-delay deliveries are taken while /readyz, on the listener too, says that the process goes.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	p := serveToNull(t, "--drain-delay=1h", "--listen-health")
	door := at(p.Listen, nil, "")
	if got := door.status("GET", "/readyz", ""); got != 200 {
		t.Errorf("%d before the stop", got)
	}
	must(t, p.Terminate())
	door.becomes(t, 503, "GET", "/readyz", "")
	if got := door.status("POST", "/", `[{"late":1}]`); got != 200 {
		t.Errorf("a late delivery: %d", got)
	}
	must(t, p.Terminate()) // a second signal waits for nobody
	if code, err := p.Wait(t.Context()); err != nil || code != 0 {
		t.Errorf("exit %d, %v: %s", code, err, p.Stderr())
	}
	if l, err := p.LastLedger(); err != nil || l.Delivered != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}
