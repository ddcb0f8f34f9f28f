package test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
)

// needs skips the test where a program is missing, or fails it with CI=true.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			kafkatest.Unavailable(t, fmt.Errorf("%s is missing: %w", name, kafkatest.ErrUnavailable))
		}
	}
}

// runs a program and returns what it printed.
func runs(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

const bigEvent = 300_000

// Real clients with their defaults: bodies of every kind arrive, refusals are seen, and the connection goes on behind
// them where the client keeps it.
func TestRealClients(t *testing.T) {
	for _, c := range []struct {
		name, needs string
		post        func(t *testing.T, url string) string
		statuses    string
		events      int64
	}{
		{"curl", "curl", func(t *testing.T, url string) string {
			big := filepath.Join(t.TempDir(), "big")
			must(t, os.WriteFile(big, []byte(`[{"text":"`+strings.Repeat("x", bigEvent)+`"}]`), 0o600))
			args := []string{"-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code} "}
			var all []string
			for _, more := range [][]string{
				{"-d", `[{"n":1}]`}, {"--json", `[{"n":1}]`}, {"--data-binary", "@" + big}, // which expects to continue
				{"-H", "Transfer-Encoding: chunked", "--data-binary", "@" + big}, {"-0", "-d", `[{"n":1}]`},
				{"--http2", "-d", `[{"n":1}]`}, {"-H", "Content-Type: application/x-ndjson", "--data-binary", "{\"n\":1}\n{\"n\":2}\n"},
			} {
				all = append(all, runs(t, "curl", append(append(args[:len(args):len(args)], more...), url)...))
			}
			return strings.Join(append(all, runs(t, "curl", append(args, "--data-binary", "@"+big, url+"nope")...)), " ")
		}, "200 200 200 200 200 200 200 404", 8},
		{"Python requests and urllib3", "python3", func(t *testing.T, url string) string {
			if err := exec.Command("python3", "-c", "import requests, urllib3").Run(); err != nil {
				kafkatest.Unavailable(t, fmt.Errorf("Python's requests is missing: %w", kafkatest.ErrUnavailable))
			}
			return runs(t, "python3", "clients/post.py", url)
		}, "200 200 200 200 404 200 200 200", 8},
		{"Node fetch and http", "node", func(t *testing.T, url string) string { return runs(t, "node", "clients/post.mjs", url) },
			"200 200 200 200 404 200 200 200", 8},
		{"Java HttpClient and HttpURLConnection", "javac", func(t *testing.T, url string) string {
			return runs(t, "java", "clients/Post.java", url)
		}, "200 200 200 404 200 200 200", 6},
		{"Go net/http", "go", func(t *testing.T, url string) string { return goClient(t, url, false) }, "200 200 200 200 404 200", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			needs(t, c.needs)
			p := serveToNull(t)
			if got := c.post(t, p.URL("/")); got != c.statuses {
				t.Errorf("statuses %s, want %s", got, c.statuses)
			}
			code, l := p.MustStop(t)
			if code != 0 || l.Delivered != c.events || l.DeadLettered != 0 || l.Balance() != nil {
				t.Errorf("exit %d, ledger %+v", code, *l)
			}
		})
	}
}

// goClient posts what Go's client sends, over one connection, or over a fresh one each time, and returns the statuses.
func goClient(t *testing.T, url string, fresh bool) string {
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	defer c.CloseIdleConnections()
	big := `[{"text":"` + strings.Repeat("x", bigEvent) + `"}]`
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `[{"n":1}]`)
	must(t, z.Close())
	var statuses []string
	for _, step := range []struct {
		path   string
		body   io.Reader
		header string // name=value
	}{
		{"", strings.NewReader(`[{"n":1}]`), ""},
		{"", strings.NewReader(big), "Expect=100-continue"},
		{"", io.MultiReader(strings.NewReader(`[{"n"`), strings.NewReader(":1}]")), ""}, // chunked
		{"", &zipped, "Content-Encoding=gzip"},
		{"nope", strings.NewReader(big), ""},
		{"", strings.NewReader(`[{"n":1}]`), ""},
	} {
		req, err := http.NewRequest(http.MethodPost, url+step.path, step.body)
		must(t, err)
		if name, value, ok := strings.Cut(step.header, "="); ok {
			req.Header.Set(name, value)
		}
		res, err := c.Do(req)
		must(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if fresh {
			c.CloseIdleConnections()
		}
		statuses = append(statuses, fmt.Sprint(res.StatusCode))
	}
	return strings.Join(statuses, " ")
}

// proxies in front of the listener, with their defaults and as they pass requests on without buffering.
func TestRealProxies(t *testing.T) {
	const nginx = `user root; daemon off; pid DIR/pid; error_log stderr; events {}
http { access_log off; client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
upstream ingest { server BACKEND; keepalive 4; }
server { listen FRONT; location / { proxy_pass http://ingest; MORE } } }`
	const haproxy = `defaults
 mode http
 timeout connect 60s
 timeout client 60s
 timeout server 60s
frontend f
 bind FRONT
 default_backend b
backend b
 option httpchk GET /readyz
 server s BACKEND check inter 100ms
`
	for _, c := range []struct {
		name, program, config string
		fresh                 bool
	}{
		{"nginx", "nginx", strings.ReplaceAll(nginx, "MORE", ""), false},
		// When the 404 comes before it has passed the whole body on, nginx closes the client's connection and does not say so
		// in the header: the next request of a client that keeps it fails in some of the runs.
		{"nginx, HTTP/1.1, unbuffered", "nginx", strings.ReplaceAll(nginx, "MORE", `proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;`), true},
		{"HAProxy, which asks for health on the listener", "haproxy", haproxy, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			needs(t, c.program)
			p := serveToNull(t, "--listen-health")
			front, dir := free(t), t.TempDir()
			path := filepath.Join(dir, "conf")
			must(t, os.WriteFile(path, []byte(strings.NewReplacer("FRONT", front, "BACKEND", p.Listen, "DIR", dir).Replace(c.config)), 0o600))
			args := []string{"-f", path}
			if c.program == "nginx" {
				args = []string{"-c", path, "-p", dir}
			}
			cmd := exec.Command(c.program, args...)
			var said lockedBuffer
			cmd.Stderr = &said
			must(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
			door := at(front, nil, "")
			for ctx := patient(t); door.status("POST", "/", `[{"n":1}]`) != 200; time.Sleep(20 * time.Millisecond) {
				if ctx.Err() != nil {
					t.Fatalf("no answer through %s: %s", c.program, said.String())
				}
			}
			before := p.MustLedger(t).Delivered
			if got, want := goClient(t, "http://"+front+"/", c.fresh), "200 200 200 200 404 200"; got != want {
				t.Errorf("statuses %s, want %s", got, want)
			}
			if code, l := p.MustStop(t); code != 0 || l.Delivered != before+5 || l.Balance() != nil {
				t.Errorf("exit %d, ledger %+v", code, *l)
			}
		})
	}
}
