package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/internal/config"
)

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *safeBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// live runs an extension with args until the test calls stop.
func live(t *testing.T, api string, args ...string) (stop func(), stdout, stderr *safeBuffer) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "INGEST_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Setenv("GOMEMLIMIT", "1GiB") // tune must not change this process
	inv, err := config.Parse(append([]string{"extension"}, args...), config.ReadHost(), io.Discard)
	var cfg *config.Config
	if err == nil {
		cfg = inv.Config
	}
	ctx, cancel := context.WithCancel(context.Background())
	stdout, stderr = &safeBuffer{}, &safeBuffer{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runExtension(ctx, context.Background(), cfg, &running{parse: parseAgain(nil)}, err, api, stdout, stderr)
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(stop)
	return stop, stdout, stderr
}

// eventually waits for text in the log.
func eventually(t *testing.T, log *safeBuffer, text string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !strings.Contains(log.String(), text); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%q never came up in:\n%s", text, log)
		}
	}
}

// Nothing of Kafka happens on the way of the cold start, however long the platform takes.
func TestKafkaIsDialledAfterTheSubscription(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled := make(chan struct{})
	go func() {
		if c, err := ln.Accept(); err == nil {
			close(dialled)
			c.Close()
		}
	}()
	early := false
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-dialled:
			early = true
		case <-time.After(50 * time.Millisecond): // time to do it wrong
		}
		fmt.Fprint(w, `{}`)
	}))
	defer api.Close()
	stop, _, stderr := live(t, strings.TrimPrefix(api.URL, "http://"), "--brokers="+ln.Addr().String(), "--topic=t", "--shutdown-timeout=100ms")
	eventually(t, stderr, "msg=subscribed")
	<-dialled
	stop()
	if early {
		t.Error("Kafka was dialled before the extension had subscribed")
	}
}

// Telemetry that was refused with 503 is probably lost. The extension says so at its end, also where it does not know how
// many bytes that were: of chunked deliveries, and of connections that it did not read.
func TestRefusedTelemetryIsTold(t *testing.T) {
	const places = 16 // the smallest ring
	for name, arg := range map[string]string{"a chunked delivery": "--ring-items=", "a connection": "--max-conns="} {
		t.Run(name, func(t *testing.T) {
			stop, stdout, stderr := live(t, "", "--sink=ndjson", "--output="+t.TempDir()+"/out", "--min-body-rate=0", arg+strconv.Itoa(places))
			eventually(t, stderr, "listen=")
			_, addr, _ := strings.Cut(stderr.String(), "listen=")
			addr = strings.Fields(addr)[0]
			const head, body = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n", "4\r\n[{}]\r\n0\r\n\r\n"
			var begun []net.Conn
			for range places {
				c := dial(t, addr)
				fmt.Fprint(c, head, "Expect: 100-continue\r\n\r\n")
				expect(t, c, http.StatusContinue)
				begun = append(begun, c)
			}
			c := dial(t, addr)
			fmt.Fprint(c, head, "\r\n", body)
			expect(t, c, http.StatusServiceUnavailable)
			for _, c := range begun {
				fmt.Fprint(c, body)
				expect(t, c, http.StatusOK)
			}
			stop()
			if n := strings.Count(stderr.String(), "telemetry was refused with 503"); n != 1 || strings.Contains(stdout.String(), "refusedBytes") {
				t.Errorf("%d lines in:\n%s\n%s", n, stderr, stdout)
			}
		})
	}
}

// expect reads an answer.
func expect(t *testing.T, c net.Conn, status int) {
	t.Helper()
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != status {
		t.Fatalf("%+v, %v; want %d", res, err, status)
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// Each fault is one line, and the function goes on.
func TestEveryFaultIsOneLine(t *testing.T) {
	refuse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer refuse.Close()
	good := []string{"--sink=ndjson", "--output=" + t.TempDir() + "/out"}
	for _, tt := range []struct {
		name, api string
		args      []string
		line      string
	}{
		{"no platform", "", good, "EXTENSION_API_ADDR is not set"},
		{"a strange address", "here", good, "is not host:port"},
		{"refused", strings.TrimPrefix(refuse.URL, "http://"), good, "no telemetry will come; the function runs on"},
		{"bad settings", "", nil, "--brokers: required"},
		{"unknown flag", "", []string{"--topics=t"}, "unknown flag --topics"},
		{"a certificate that cannot be read", "", []string{"--brokers=b:1", "--topic=t", "--tls", "--tls-ca=/nowhere"}, "--tls-ca=/nowhere"},
		{"a certificate that is none", "", []string{"--brokers=b:1", "--topic=t", "--tls", "--tls-ca=/proc/self/status"}, "holds no certificate"},
		{"a port outside", "", append(good, "--listen=127.0.0.1:9999"), "8081-8090"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stop, stdout, stderr := live(t, tt.api, tt.args...)
			eventually(t, stderr, tt.line)
			stop()
			if n := strings.Count(stderr.String(), tt.line); n != 1 {
				t.Errorf("%d times in:\n%s", n, stderr)
			}
			for line := range strings.Lines(stderr.String()) {
				if !strings.HasPrefix(line, "ingest[") {
					t.Errorf("a line without the marker: %q", line)
				}
			}
			if !strings.HasPrefix(stdout.String(), `{"admitted":0,`) {
				t.Errorf("the last line is %q", stdout)
			}
		})
	}
}
