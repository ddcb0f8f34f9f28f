package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"functiongraph-ingest/internal/ledger"
)

const (
	startTries   = 3 // another process may take a port between its choice and its use
	readyTimeout = 20 * time.Second
	exitTimeout  = 30 * time.Second // above --shutdown-timeout
	askTimeout   = 2 * time.Second
)

// build makes the ingest program in dir, as users get it.
func build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "ingest")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "functiongraph-ingest/cmd/ingest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// ingest is the program as a process of its own.
type ingest struct {
	listen, admin  string // host:port
	cmd            *exec.Cmd
	stdout, stderr output
	exited         chan struct{} // closed when the process has ended
	client         http.Client
}

// output keeps what the process writes: little, as its logs are state changes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// startIngest runs `ingest serve` against the broker and returns when it is ready.
func startIngest(ctx context.Context, bin, brokers string) (*ingest, error) {
	var errs []error
	for range startTries {
		p, err := launch(bin, brokers)
		if err != nil {
			return nil, err
		}
		if err = p.waitReady(ctx); err == nil {
			return p, nil
		}
		p.kill()
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func launch(bin, brokers string) (*ingest, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	p := &ingest{listen: ports[0], admin: ports[1], exited: make(chan struct{}), client: http.Client{Timeout: askTimeout}}
	p.cmd = exec.Command(bin, "serve", "--listen", p.listen, "--admin", p.admin, "--brokers", brokers, "--topic", topic)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	ownGroup(p.cmd)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // ownGroup ties the process to the thread that starts it
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // the result is read from ProcessState
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start ingest: %w", err)
	}
	return p, nil
}

// freePorts finds loopback addresses that nobody listened on a moment ago.
func freePorts(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // held until all are found, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func (p *ingest) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, _, err := p.get(ctx, "/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("ingest ended before it was ready:\n%s", p.stderr.String())
		case <-ctx.Done():
			return fmt.Errorf("ingest is not ready: %w\n%s", context.Cause(ctx), p.stderr.String())
		case <-tick.C:
		}
	}
}

// get asks the admin address.
func (p *ingest) get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	return resp.StatusCode, body.Bytes(), err
}

// stop asks the process to end, and returns its exit code and the ledger of its last line; nil when that is
// none.
func (p *ingest) stop() (code int, l *ledger.Ledger, err error) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already: the exit code tells
	select {
	case <-p.exited:
	case <-time.After(exitTimeout):
		p.kill()
		err = fmt.Errorf("ingest did not end within %v of SIGTERM and was killed", exitTimeout)
	}
	out := strings.TrimSpace(p.stdout.String())
	l = new(ledger.Ledger)
	if json.Unmarshal([]byte(out[strings.LastIndexByte(out, '\n')+1:]), l) != nil {
		l = nil
	}
	return p.cmd.ProcessState.ExitCode(), l, err
}

// kill ends the process if it still runs, and waits.
func (p *ingest) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}
