package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"functiongraph-ingest/bench/limit"
	"functiongraph-ingest/test/proc"
)

// readyWithin is how long a program of others may take to start.
const readyWithin = 60 * time.Second

// process is a target that runs.
type process struct {
	*proc.Process
	target  *Target
	group   *limit.Group // nil: not limited
	dir     string
	discard *discard
}

// ours reports whether it has the admin address of ingest.
func (p *process) ours() bool { return len(p.target.Command) == 0 }

// ErrNoLimit means that a scenario limits the program's CPU time and that this machine does not let us.
var ErrNoLimit = errors.New("the scenario needs the right to make control groups")

var groups atomic.Int64 // names of control groups differ within this process

// launch starts a target and waits until it is ready. more are arguments of ingest serve.
func launch(ctx context.Context, t *Target, binary, brokers, topic string, cores float64, more ...string) (_ *process, err error) {
	p := &process{target: t}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.dir, err = os.MkdirTemp("", "ingest-bench-"); err != nil {
		return nil, err
	}
	if t.Binary != "" {
		binary = t.Binary
	}
	o := proc.Options{Bin: binary, Env: t.Env}
	if p.ours() {
		o = proc.Serve(binary, brokers, topic, slices.Concat(more, t.Args)...)
		o.Env = t.Env
	} else {
		o.Bin, o.Args = t.Command[0], slices.Clone(t.Command[1:])
	}
	if slices.ContainsFunc(o.Args, func(a string) bool { return strings.Contains(a, "{discard}") }) {
		if p.discard, err = newDiscard(); err != nil {
			return nil, err
		}
	}
	fill := strings.NewReplacer("{brokers}", brokers, "{topic}", topic, "{dir}", p.dir, "{discard}", p.discard.addr())
	for i, a := range o.Args {
		o.Args[i] = fill.Replace(a)
	}
	if cores > 0 {
		if p.group, err = limit.New(fmt.Sprintf("ingest-bench-%d-%d", os.Getpid(), groups.Add(1)), cores); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoLimit, err)
		}
		o.Bin, o.Args = p.group.Command(o.Bin, o.Args...)
	}
	if p.Process, err = proc.Launch(o); err != nil {
		return nil, err
	}
	if p.ours() {
		return p, p.WaitReady(ctx)
	}
	return p, p.waitReady(ctx)
}

// waitReady asks the probe of a program of others.
func (p *process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	probe := strings.NewReplacer("{listen}", p.Listen, "{admin}", p.Admin).Replace(p.target.Ready)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask(ctx, probe)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; it said:\n%s", p.target.Name, err, p.Stderr())
		case <-p.Exited():
			return fmt.Errorf("%s ended; it said:\n%s", p.target.Name, p.Stderr())
		case <-ticker.C:
		}
	}
}

func ask(ctx context.Context, probe string) error {
	if addr, ok := strings.CutPrefix(probe, "tcp:"); ok {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func (p *process) close() {
	if p.Process != nil {
		_ = p.Process.Close()
	}
	if p.group != nil {
		for range 100 { // the kernel takes a moment to see that it is empty
			if p.group.Close() == nil {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	p.discard.close()
	_ = os.RemoveAll(p.dir)
}

// discard is a TCP server that reads everything: the cheapest thing to write to.
type discard struct{ l net.Listener }

func newDiscard() (*discard, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends when the target does
				defer func() { _ = c.Close() }()
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
			}()
		}
	}()
	return &discard{l}, nil
}

func (d *discard) addr() string {
	if d == nil {
		return ""
	}
	return d.l.Addr().String()
}

func (d *discard) close() {
	if d != nil {
		_ = d.l.Close()
	}
}
