// Package proc runs the built ingest binary as a process of its own, as users run it, and looks at it
// from outside: its admin address, its resources, its signals, its exit.
package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"functiongraph-ingest/test/internal/child"
	"functiongraph-ingest/test/internal/freeport"
)

const (
	readyTimeout = 60 * time.Second
	exitTimeout  = 60 * time.Second
	pollInterval = 20 * time.Millisecond
	askTimeout   = 10 * time.Second
)

// Options say what to run.
type Options struct {
	// Bin is the program, for example from Build.
	Bin string
	// Args are its arguments. Every "{listen}" and "{admin}" in them is replaced by a free loopback
	// address.
	Args []string
	// Env is added to this process's environment, "NAME=value". The log is text unless Env or Args say otherwise.
	Env []string
	// Dir is the working directory; empty means this process's.
	Dir string
	// Listen and Admin are used instead of free addresses, to start again where a process was before.
	Listen, Admin string
}

// Serve returns the options to run "ingest serve" against a Kafka topic. more are further arguments.
func Serve(bin, brokers, topic string, more ...string) Options {
	args := []string{"serve", "--listen", "{listen}", "--admin", "{admin}", "--brokers", brokers, "--topic", topic}
	return Options{Bin: bin, Args: append(args, more...)}
}

// Process is a started program. All methods are safe for concurrent use.
type Process struct {
	Listen string // host:port of the listener
	Admin  string // host:port of the admin server

	child  *child.Child
	client *http.Client
	stdout output
	stderr output
}

// Launch starts the process and does not wait for anything. The caller must call Close.
func Launch(o Options) (*Process, error) {
	free, err := freeport.Take(2)
	if err != nil {
		return nil, err
	}
	p := &Process{Listen: free[0], Admin: free[1], client: &http.Client{}}
	if o.Listen != "" {
		p.Listen = o.Listen
	}
	if o.Admin != "" {
		p.Admin = o.Admin
	}
	args := slices.Clone(o.Args)
	for i, a := range args {
		args[i] = strings.NewReplacer("{listen}", p.Listen, "{admin}", p.Admin).Replace(a)
	}
	cmd := exec.Command(o.Bin, args...)
	cmd.Env = append(append(os.Environ(), "INGEST_LOG_FORMAT=text"), o.Env...)
	cmd.Dir = o.Dir
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if p.child, err = child.Start(cmd); err != nil {
		return nil, err
	}
	return p, nil
}

// WaitReady waits until /readyz answers 200. It fails at once when the process ends.
func (p *Process) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	last := errors.New("never asked")
	for {
		status, body, err := p.get(ctx, "/readyz")
		switch {
		case err == nil && status == http.StatusOK:
			return nil
		case err == nil:
			last = fmt.Errorf("/readyz answered %d: %s", status, strings.TrimSpace(string(body)))
		case ctx.Err() == nil:
			last = err
		}
		select {
		case <-p.child.Exited():
			return fmt.Errorf("the process ended before it was ready; it said:\n%s", p.Stderr())
		case <-ctx.Done():
			return fmt.Errorf("the process is not ready: %w; it said:\n%s", last, p.Stderr())
		case <-time.After(pollInterval):
		}
	}
}

// URL is the address to post to: "http://host:port" and path.
func (p *Process) URL(path string) string { return "http://" + p.Listen + path }

// PID is the process id.
func (p *Process) PID() int { return p.child.PID() }

// Get asks the admin server and returns the status and the body.
func (p *Process) Get(path string) (int, []byte, error) {
	return p.GetWithin(askTimeout, path)
}

// GetWithin is Get for answers that take long.
func (p *Process) GetWithin(timeout time.Duration, path string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return p.get(ctx, path)
}

func (p *Process) get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// Ledger asks /ledger.
func (p *Process) Ledger() (*Ledger, error) {
	status, body, err := p.Get("/ledger")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("/ledger answered %d: %.200q", status, body)
	}
	return parseLedger(body)
}

// StatusLedger is the ledger in /status.
func (p *Process) StatusLedger() (*Ledger, error) {
	code, body, err := p.Get("/status")
	if err != nil {
		return nil, err
	}
	var answer struct{ Ledger json.RawMessage }
	if err := json.Unmarshal(body, &answer); err != nil || code != http.StatusOK {
		return nil, fmt.Errorf("/status answered %d: %.200q: %w", code, body, err)
	}
	return parseLedger(answer.Ledger)
}

// LastLedger is the ledger that the process printed as its last line; call it after the end.
func (p *Process) LastLedger() (*Ledger, error) {
	for _, out := range []string{p.Stdout(), p.Stderr()} {
		out = strings.TrimSpace(out)
		line := out[strings.LastIndexByte(out, '\n')+1:]
		if strings.HasPrefix(line, "{") && strings.Contains(line, `"admitted"`) {
			return parseLedger([]byte(line))
		}
	}
	return nil, fmt.Errorf("no ledger as the last line; stdout ends %.300q, stderr ends %.300q", end(p.Stdout()), end(p.Stderr()))
}

func end(s string) string { return s[max(0, len(s)-300):] }

// Stdout is what the process wrote so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr is what the process wrote so far.
func (p *Process) Stderr() string { return p.stderr.String() }

// Signal sends a signal.
func (p *Process) Signal(sig syscall.Signal) error { return p.child.Signal(sig) }

// Freeze stops the process in its tracks (SIGSTOP).
func (p *Process) Freeze() error { return p.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on (SIGCONT).
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// Terminate asks the process to end (SIGTERM) and does not wait.
func (p *Process) Terminate() error { return p.Signal(syscall.SIGTERM) }

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error { return p.child.Kill() }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.child.Exited() }

// Wait waits for the end and returns the exit code, 128 + number when a signal was the cause.
func (p *Process) Wait(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, exitTimeout)
	defer cancel()
	return p.child.Wait(ctx)
}

// Stop is Terminate and Wait.
func (p *Process) Stop(ctx context.Context) (int, error) {
	if err := p.Terminate(); err != nil {
		return 0, err
	}
	return p.Wait(ctx)
}

// Close kills the process if it still runs.
func (p *Process) Close() error {
	p.client.CloseIdleConnections()
	return p.Kill()
}
