package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/test/internal/freeport"
	"functiongraph-ingest/test/proc"
)

// linesProcess is ingest serve --sink=ndjson with stdout in a pipe whose reader is the test.
type linesProcess struct {
	url, admin string
	cmd        *exec.Cmd
	stdout     *os.File
	stderr     lockedBuffer
	exited     chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startLines(t *testing.T) *linesProcess {
	free, err := freeport.Take(2)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &linesProcess{url: "http://" + free[0] + "/", admin: "http://" + free[1], stdout: r, exited: make(chan error, 1)}
	p.cmd = exec.Command(proc.Build(t), "serve", "--sink=ndjson", "--listen", free[0], "--admin", free[1], "--ack=accept",
		"--admit-wait=0s", "--shutdown-timeout=1s", "--memory-limit=32MiB")
	p.cmd.Stdout, p.cmd.Stderr = w, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = r.Close() })
	go func() { p.exited <- p.cmd.Wait() }()
	for ctx := patient(t); p.status(http.MethodGet, p.admin+"/healthz", "") != http.StatusOK; {
		if ctx.Err() != nil {
			t.Fatalf("not up: %s", p.stderr.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return p
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// status is of the answer; 0: there is none.
func (p *linesProcess) status(method, url, body string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// ends waits for the process and checks that it ended by itself with events dropped, and its last line is the ledger.
func (p *linesProcess) ends(t *testing.T, reason string) {
	t.Helper()
	select {
	case err := <-p.exited:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("ended with %v, want exit code 3; it said:\n%s", err, p.stderr.String())
		}
	case <-patient(t).Done():
		t.Fatalf("still running; it said:\n%s", p.stderr.String())
	}
	said := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if last := said[len(said)-1]; !strings.Contains(last, reason) || !strings.Contains(last, "admitted") {
		t.Errorf("the last line is no ledger with %s:\n%s", reason, strings.Join(said, "\n"))
	}
}

// A reader that leaves ends the process like a stop, with a ledger, and not by SIGPIPE.
func TestReaderOfLinesLeaves(t *testing.T) {
	p := startLines(t)
	if got := p.status(http.MethodPost, p.url, `[{"a":1}]`); got != http.StatusOK {
		t.Fatal(got)
	}
	line := make([]byte, 8)
	if _, err := p.stdout.Read(line); err != nil || string(line) != `{"a":1}`+"\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_ = p.stdout.Close()
	p.status(http.MethodPost, p.url, `[{"a":2}]`)
	p.ends(t, "output_gone")
}

// A reader that stops makes deliveries wait and then fail; the figures, and a stop, do not wait for it.
func TestReaderOfLinesStops(t *testing.T) {
	p := startLines(t)
	body := `[` + strings.Repeat(`{"a":"`+strings.Repeat("x", 1000)+`"},`, 511) + `{"a":1}]`
	for ctx := patient(t); p.status(http.MethodPost, p.url, body) == http.StatusOK; {
		if ctx.Err() != nil {
			t.Fatal("deliveries are taken without end")
		}
	}
	for _, path := range []string{"/ledger", "/metrics", "/readyz"} {
		if p.status(http.MethodGet, p.admin+path, "") == 0 {
			t.Errorf("%s does not answer", path)
		}
	}
	for ctx := patient(t); p.status(http.MethodGet, p.admin+"/readyz", "") != http.StatusServiceUnavailable; time.Sleep(10 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("deliveries are refused, and /readyz does not say so")
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.ends(t, "shutdown")
	text, err := io.ReadAll(p.stdout)
	if err != nil || len(text) == 0 || text[len(text)-1] != '\n' {
		t.Errorf("%d bytes are in the pipe, and its last line is not complete: %v", len(text), err)
	}
	if n := fmt.Sprintf(`"delivered":%d,`, bytes.Count(text, []byte("\n"))); !strings.Contains(p.stderr.String(), n) {
		t.Errorf("the pipe has %s and the ledger does not say so:\n%s", n, p.stderr.String())
	}
}
