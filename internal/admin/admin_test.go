package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/pkg/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts a server on a free port of the loopback; it ends with the test.
func run(t *testing.T, cfg Config, deps Deps) (base string, client *http.Client) {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	s := New(cfg, deps)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	client = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("second Shutdown: %v", err)
		}
	})
	return "http://" + s.Addr().String(), client
}

func ask(t *testing.T, client *http.Client, method, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func deps(ready func() error) Deps {
	l := func() ledger.Ledger { return ledger.Ledger{Admitted: 3, Delivered: 3, Idempotent: true} }
	h := &Health{Ledger: l, Ready: ready, Delivery: func() sink.Delivery { return sink.Delivery{State: sink.Idle} }, Version: "ingest test"}
	m := metrics.New()
	m.Counter("ingest_ledger_delivered_events_total", "Delivered.", func() float64 { return 3 })
	return Deps{Health: h, Metrics: m.Write, Settings: func() []byte { return []byte(`{"a":1}`) }}
}

func TestEndpoints(t *testing.T) {
	ready := func() error { return nil }
	notReady := func() error { return errors.New("topic events has no leader") }
	const golden = `{"admitted":3,"recovered":0,"delivered":3,"deadLettered":0,"setAside":0,"spooled":0,"inFlight":0,"dropped":{},` +
		`"possibleDuplicates":0,"duplicatesSuppressed":0,"idempotent":true,"ownLines":0,"waiting":{"bodies":0,"bytes":0},"bodies":{"admitted":0,"refused":{}}}` + "\n"
	for _, tt := range []struct {
		name, method, path string
		ready              func() error
		pprof              bool
		status             int
		contentType        string
		body               string // must be in it; "=" in front: must be it
	}{
		{"ledger", "GET", "/ledger", ready, false, 200, "application/json", "=" + golden},
		{"ledger head", "HEAD", "/ledger", ready, false, 200, "application/json", "="},
		{"metrics", "GET", "/metrics", ready, false, 200, "text/plain; version=0.0.4; charset=utf-8", "ingest_ledger_delivered_events_total 3\n"},
		{"alive", "GET", "/healthz", notReady, false, 200, plain, "=alive\n"},
		{"ready", "GET", "/readyz", ready, false, 200, plain, "=ready\ndelivery: idle\n"},
		{"not ready", "GET", "/readyz", notReady, false, 503, plain, "=not ready: topic events has no leader\ndelivery: idle\n"},
		{"status", "GET", "/status", ready, false, 200, "application/json", `"version":"ingest test"`},
		{"status while not ready", "GET", "/status", notReady, false, 200, "application/json", `"notReady":"topic events has no leader"`},
		{"status takes no post", "POST", "/status", ready, false, 405, "", ""},
		{"not ready head", "HEAD", "/readyz", notReady, false, 503, plain, "="},
		{"the page", "GET", "/", ready, false, 200, "text/html; charset=utf-8", "<!doctype html>"},
		{"the page takes no post", "POST", "/", ready, false, 405, "", ""},
		{"nothing beside the page", "GET", "/index.html", ready, false, 404, "", ""},
		{"only whole paths", "GET", "/ledger/x", ready, false, 404, "", ""},
		{"post", "POST", "/ledger", ready, false, 405, "", ""},
		{"put", "PUT", "/metrics", ready, false, 405, "", ""},
		{"delete", "DELETE", "/readyz", ready, false, 405, "", ""},
		{"options", "OPTIONS", "/healthz", ready, false, 405, "", ""},
		{"settings", "GET", "/settings", ready, false, 200, "application/json", "={\"a\":1}\n"},
		{"profiles are off", "GET", "/debug/pprof/", ready, false, 404, "", ""},
		{"heap profile is off", "GET", "/debug/pprof/heap", ready, false, 404, "", ""},
		{"profiles", "GET", "/debug/pprof/", ready, true, 200, "text/html; charset=utf-8", "goroutine"},
		{"goroutines", "GET", "/debug/pprof/goroutine?debug=1", ready, true, 200, plain, "goroutine profile"},
		{"command line without arguments", "GET", "/debug/pprof/cmdline", ready, true, 200, plain, os.Args[0]},
		{"profiles take no post", "POST", "/debug/pprof/heap", ready, true, 405, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, client := run(t, Config{Pprof: tt.pprof}, deps(tt.ready))
			resp, body := ask(t, client, tt.method, base+tt.path)
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tt.status, body)
			}
			if got := resp.Header.Get("Content-Type"); tt.contentType != "" && got != tt.contentType {
				t.Errorf("type %q, want %q", got, tt.contentType)
			}
			if want, exact := strings.CutPrefix(tt.body, "="); exact && body != want {
				t.Errorf("body %q, want %q", body, want)
			} else if !exact && !strings.Contains(body, want) {
				t.Errorf("%q is not in the body %q", want, body)
			}
			if page := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html"); body != "" && !page && !strings.HasSuffix(body, "\n") {
				t.Errorf("no newline at the end of %q", body)
			}
			if tt.status == 405 && !strings.Contains(resp.Header.Get("Allow"), "GET") {
				t.Errorf("Allow = %q", resp.Header.Get("Allow"))
			}
		})
	}
}

// The state is asked for at every request, not kept.
func TestReadinessChanges(t *testing.T) {
	var up atomic.Bool
	base, client := run(t, Config{}, deps(func() error {
		if up.Load() {
			return nil
		}
		return errors.New("draining")
	}))
	for _, want := range []int{503, 200, 503} {
		up.Store(want == 200)
		if resp, _ := ask(t, client, "GET", base+"/readyz"); resp.StatusCode != want {
			t.Errorf("status %d, want %d", resp.StatusCode, want)
		}
	}
}

func TestTwoServersAreIndependent(t *testing.T) {
	one, client1 := run(t, Config{Pprof: true}, deps(func() error { return nil }))
	two, client2 := run(t, Config{}, deps(func() error { return errors.New("no") }))
	if resp, _ := ask(t, client1, "GET", one+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("first: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, client2, "GET", two+"/readyz"); resp.StatusCode != 503 {
		t.Errorf("second: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, client2, "GET", two+"/debug/pprof/"); resp.StatusCode != 404 {
		t.Errorf("profiles of the second: %d", resp.StatusCode)
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := New(Config{Addr: taken.Addr().String()}, Deps{Log: slog.New(slog.DiscardHandler)})
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("error %v does not name the address", err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown without Listen: %v", err)
	}
}

// A server that was never served gives its address back too.
func TestShutdownBeforeServe(t *testing.T) {
	s := New(Config{Addr: "127.0.0.1:0"}, Deps{Log: slog.New(slog.DiscardHandler)})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	again, err := net.Listen("tcp", s.Addr().String())
	if err != nil {
		t.Fatalf("the address is still taken: %v", err)
	}
	again.Close()
}

// An answer under way is waited for, but not longer than the context allows.
func TestShutdownWaitsWithinItsTime(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	d := deps(func() error { return nil })
	d.Log = slog.New(slog.DiscardHandler)
	d.Health.Ready = func() error {
		close(entered)
		<-release
		return nil
	}
	s := New(Config{Addr: "127.0.0.1:0"}, d)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	served, asked := make(chan error, 1), make(chan struct{})
	go func() { served <- s.Serve() }()
	go func() {
		defer close(asked)
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		if resp, err := client.Get("http://" + s.Addr().String() + "/readyz"); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown = %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	close(release)
	<-asked
}

// Whatever the verdict is, what the delivery does stands below it.
func TestHealth(t *testing.T) {
	since := time.Date(2026, 11, 27, 1, 2, 3, 0, time.UTC)
	trouble := sink.Trouble{Kind: "topic_missing", Reason: "topic t does not exist", Remedy: "set --create-topic", Error: "[3]", Since: since}
	for _, tt := range []struct {
		name     string
		delivery sink.Delivery
		notReady error
		readyz   string
		status   string // in the JSON
	}{
		{"idle", sink.Delivery{State: sink.Idle}, nil, "ready\ndelivery: idle\n",
			`"ready":true,"delivery":{"state":"idle","waiting":0,"spooledEvents":0,"spooledBytes":0},"ledger":{`},
		{"an outage on disk", sink.Delivery{State: sink.Spooling, Since: since, Waiting: 9, SpooledEvents: 7, SpooledBytes: 70, Trouble: trouble}, nil,
			"ready\ndelivery: spooling, 7 events on disk: topic t does not exist: set --create-topic\n",
			`"ready":true,"delivery":{"state":"spooling","since":"2026-11-27T01:02:03Z","waiting":9,"spooledEvents":7,"spooledBytes":70,` +
				`"trouble":{"kind":"topic_missing","reason":"topic t does not exist","remedy":"set --create-topic","error":"[3]","since":"2026-11-27T01:02:03Z"}},`},
		{"all three", sink.Delivery{State: sink.Failed, Trouble: trouble, DeadLetters: trouble, Spool: trouble}, errors.New("no"),
			"not ready: no\ndelivery: failed: topic t does not exist: set --create-topic\ndead letters: topic t does not exist: set --create-topic\n" +
				"spool: topic t does not exist: set --create-topic\n",
			`"ready":false,"notReady":"no","delivery":{"state":"failed",`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := deps(func() error { return tt.notReady }).Health
			h.Delivery = func() sink.Delivery { return tt.delivery }
			r, ok := h.Answer("/readyz")
			if want := map[bool]int{true: 200, false: 503}[tt.notReady == nil]; !ok || r.Status != want || string(r.Body) != tt.readyz {
				t.Errorf("%d %q, want %d %q", r.Status, r.Body, want, tt.readyz)
			}
			r, ok = h.Answer("/status")
			if !ok || r.Status != 200 || !json.Valid(r.Body) || !strings.Contains(string(r.Body), tt.status) {
				t.Errorf("%d %s, want %s", r.Status, r.Body, tt.status)
			}
		})
	}
	h, woken := deps(func() error { return nil }).Health, 0
	h.Wake = func() { woken++ }
	for path, want := range map[string]int{"/readyz": 1, "/status": 0, "/healthz": 0} {
		woken = 0
		if h.Answer(path); woken != want {
			t.Errorf("%s wakes the sink %d times, want %d", path, woken, want)
		}
	}
	if _, ok := deps(nil).Health.Answer("/metrics"); ok {
		t.Error("a path of others is answered")
	}
}
