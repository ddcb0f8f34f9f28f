package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is the platform's API, strict about everything the reference demands. It has one script of
// answers per path; the last one stays.
type fake struct {
	t         *testing.T
	register  []answer
	subscribe []answer

	mu     sync.Mutex
	calls  []string
	bodies []string
}

type answer struct {
	status int
	body   string
}

const registered = `{"functionName":"hello","functionVersion":"$LATEST","errorInfo":{"errorType":"","errorMessage":""}}`

var ok = []answer{{200, registered}}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("%s %s with Content-Type %q", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	f.calls, f.bodies = append(f.calls, r.URL.Path), append(f.bodies, string(body))
	script := &f.subscribe
	switch r.URL.Path {
	case "/extension/register":
		script = &f.register
		for name, want := range map[string]string{
			"FunctionGraph-Extension-Name": "extensionIngest.sh", "FunctionGraph-Extension-Address": "127.0.0.1:8083",
		} {
			if got := r.Header[http.CanonicalHeaderKey(name)]; !slices.Equal(got, []string{want}) {
				f.t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	case "/telemetry":
		if !slices.Contains(f.calls, "/extension/register") {
			f.t.Error("subscribed before it registered")
		}
		f.checkSubscription(body)
	default:
		f.t.Errorf("unexpected path %s", r.URL.Path)
	}
	a := (*script)[0]
	if len(*script) > 1 {
		*script = (*script)[1:]
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

func (f *fake) checkSubscription(body []byte) {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	var s subscription
	if err := d.Decode(&s); err != nil {
		f.t.Errorf("subscription %s: %v", body, err)
	}
	if s.Subscriber.Protocol != "POST" || !strings.HasPrefix(s.Subscriber.URI, "http://127.0.0.1:8083") || len(s.Types) == 0 {
		f.t.Errorf("subscription %s", body)
	}
}

// join runs Join against f over pipes in memory, in a bubble of its own time.
func join(t *testing.T, f *fake, change func(*Config)) (fn Function, took time.Duration, err error) {
	t.Helper()
	f.t = t
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		srv := &http.Server{Handler: f}
		go srv.Serve(ln)
		defer srv.Close()
		cfg := Config{API: "platform:1234", Name: "extensionIngest.sh", Address: "127.0.0.1:8083", Path: "/", Types: []string{"platform", "function", "extension"}}
		if change != nil {
			change(&cfg)
		}
		start := time.Now()
		fn, err = Join(t.Context(), cfg, Deps{Dial: ln.dial})
		took = time.Since(start)
	})
	return fn, took, err
}

// pipes is a listener without a network.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if addr != "platform:1234" {
		return nil, fmt.Errorf("dialled %s", addr)
	}
	a, b := net.Pipe()
	select {
	case p.conns <- b:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestJoin(t *testing.T) {
	f := &fake{register: ok, subscribe: []answer{{200, ""}}}
	fn, took, err := join(t, f, nil)
	if err != nil || fn != (Function{"hello", "$LATEST"}) {
		t.Fatalf("%+v, %v", fn, err)
	}
	if took != 0 {
		t.Errorf("took %v: it waited for something", took)
	}
	if want := []string{"/extension/register", "/telemetry"}; !slices.Equal(f.calls, want) {
		t.Errorf("called %v, want %v", f.calls, want)
	}
	if want := `{"subscriber":{"protocol":"POST","uri":"http://127.0.0.1:8083"},"types":["platform","function","extension"]}`; f.bodies[1] != want {
		t.Errorf("subscribed with %s, want %s", f.bodies[1], want)
	}
}

func TestSecretPathIsSubscribed(t *testing.T) {
	f := &fake{register: ok, subscribe: []answer{{200, ""}}}
	if _, _, err := join(t, f, func(c *Config) { c.Path = "/s3cret"; c.Types = []string{"function"} }); err != nil {
		t.Fatal(err)
	}
	if want := `{"subscriber":{"protocol":"POST","uri":"http://127.0.0.1:8083/s3cret"},"types":["function"]}`; f.bodies[1] != want {
		t.Errorf("subscribed with %s, want %s", f.bodies[1], want)
	}
}

// The reference prints EXTENSION_API_ADDR inside of "http://${EXTENSION_API_ADDR}"; a platform that has the
// scheme in the variable itself is understood too.
func TestAddressWithScheme(t *testing.T) {
	f := &fake{register: ok, subscribe: []answer{{200, ""}}}
	if _, _, err := join(t, f, func(c *Config) { c.API = " http://platform:1234/" }); err != nil {
		t.Fatal(err)
	}
}

// Only the code decides about a registration; the body is for the log.
func TestRegistrationWithAnotherBody(t *testing.T) {
	for _, body := range []string{"", "ok", `{"functionName":5}`, "<html>"} {
		f := &fake{register: []answer{{200, body}}, subscribe: []answer{{200, "whatever"}}}
		if _, _, err := join(t, f, nil); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// What passes by itself is tried again; what does not, is not. Every line says what to do.
func TestEveryErrorSaysWhatToDo(t *testing.T) {
	yes := []answer{{200, ""}}
	refusal := `{"errorInfo":{"errorType":"E","errorMessage":"bad name"}}`
	for _, tt := range []struct {
		name                string
		register, subscribe []answer
		change              func(*Config)
		calls               int    // 0: many
		err                 string // "": joins
	}{
		{"no address", ok, yes, func(c *Config) { c.API = "nonsense" }, -1, `EXTENSION_API_ADDR="nonsense" is not host:port: the platform sets it`},
		{"nobody there", ok, yes, func(c *Config) { c.API = "elsewhere:1" }, -1, "nothing answers at EXTENSION_API_ADDR=elsewhere:1"},
		{"register 400", []answer{{400, refusal}}, yes, nil, 1, `register: the platform answers 400 "bad name": the name "extensionIngest.sh" must be the full file name of the start script (--extension-name)`},
		{"register 403", []answer{{403, ""}}, yes, nil, 1, "(--listen)"},
		{"register 404", []answer{{404, ""}}, yes, nil, 1, "has no such API"},
		{"register 302 is not followed", []answer{{302, ""}}, yes, nil, 1, "answers 302"},
		{"register 500 for a while", []answer{{500, "x"}, {503, ""}, {200, registered}}, yes, nil, 4, ""},
		{"register 429 for a while", []answer{{429, "x"}, {200, registered}}, yes, nil, 3, ""},
		{"register 500 for ever", []answer{{500, "down"}}, yes, nil, 0, `answers 500 "down" (`},
		{"subscribe 400", ok, []answer{{400, `{"message":"another subscriber"}`}}, nil, 2, `subscribe: the platform answers 400 "another subscriber"`},
		{"subscribe 400 says it all", ok, []answer{{400, ""}}, nil, 2, "only one extension of a function may take telemetry: remove the other"},
		{"subscribe 500 for a while", ok, []answer{{500, ""}, {200, ""}}, nil, 3, ""},
		{"subscribe 500 for ever", ok, []answer{{500, ""}}, nil, 0, "service ticket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{register: slices.Clone(tt.register), subscribe: slices.Clone(tt.subscribe)}
			_, took, err := join(t, f, tt.change)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Advice == "" || strings.Contains(err.Error(), "\n")) {
				t.Errorf("not one line with advice: %q", err)
			}
			switch n := len(f.calls); {
			case tt.calls > 0 && n != tt.calls:
				t.Errorf("%d calls %v, want %d", n, f.calls, tt.calls)
			case tt.calls == 0 && (n < 30 || n > 60 || took != patience):
				t.Errorf("%d calls in %v", n, took)
			}
		})
	}
}

// A platform that takes the connection and never answers is given up in time.
func TestSilentPlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			a, b := net.Pipe()
			go func() { io.Copy(io.Discard, b); b.Close() }()
			return a, nil
		}
		start := time.Now()
		_, err := Join(t.Context(), Config{API: "p:1", Path: "/"}, Deps{Dial: dial})
		if took := time.Since(start); err == nil || took != patience {
			t.Errorf("%v after %v", err, took)
		}
		synctest.Wait()
	})
}

// SIGTERM ends the attempts at once.
func TestJoinEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
		_, err := Join(ctx, Config{API: "p:1"}, Deps{Dial: refuse})
		if err == nil || time.Since(start) != 300*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// HTTP_PROXY is for the function, not for the platform's own API; headers go out as they are documented,
// letter by letter.
func TestRequestOnTheWire(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	var raw string
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		raw = string(buf[:n])
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	}()
	_, err = Join(t.Context(), Config{API: ln.Addr().String(), Name: "extensionIngest.sh", Address: "127.0.0.1:8081"}, Deps{})
	<-done
	if err == nil {
		t.Error("400 is no error")
	}
	for _, line := range []string{"POST /extension/register HTTP/1.1\r\n", "\r\nFunctionGraph-Extension-Name: extensionIngest.sh\r\n",
		"\r\nFunctionGraph-Extension-Address: 127.0.0.1:8081\r\n", "\r\nContent-Type: application/json\r\n", "\r\nHost: " + ln.Addr().String() + "\r\n"} {
		if !strings.Contains(raw, line) {
			t.Errorf("%q is not in %q", line, raw)
		}
	}
}
