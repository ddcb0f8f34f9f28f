package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/internal/ledger"
)

const askTimeout = 2 * time.Second

// build makes the dependency package in dir, as users get it.
func build(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "run", "functiongraph-ingest/cmd/package", "-arch", runtime.GOARCH, "-out", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("package: %w\n%s", err, out)
	}
	return filepath.Join(dir, "ingest-extension-linux-"+runtime.GOARCH+".zip"), nil
}

// ingest is the extension as the platform runs it. The demo only looks at its admin address.
type ingest struct {
	admin  string        // host:port
	over   chan struct{} // closed when the platform has ended it; then the rest is valid
	report *fgsim.Report
	err    error
	client http.Client
}

// startIngest lets the platform start the package and send it telemetry, and returns at once. The end of ctx
// stops both early.
func startIngest(ctx context.Context, o options, zip, dir, brokers string, t *traffic) (*ingest, error) {
	admin, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &ingest{admin: admin, over: make(chan struct{}), client: http.Client{Timeout: askTimeout, Transport: &http.Transport{}}}
	env := []string{
		"INGEST_BROKERS=" + brokers, "INGEST_TOPIC=" + topic, "INGEST_ADMIN=" + admin, "INGEST_SPOOL_DIR=" + filepath.Join(dir, "spool"),
		"INGEST_BUFFER_BYTES=1MiB", // so that 4 s without a broker do not fit
		"INGEST_SPOOL_MAX=16MiB",   // so that its bar is seen to fill and drain
	}
	go func() {
		defer close(p.over)
		p.report, p.err = play(ctx, o, zip, env, t)
	}()
	return p, nil
}

// freePort finds a loopback address that was free a moment ago. Should another process take it in
// between, ingest says so and works, and only the view stays empty.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
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

// wait waits for the end of the extension.
func (p *ingest) wait() (*fgsim.Report, error) {
	<-p.over
	p.client.CloseIdleConnections()
	return p.report, p.err
}

// lastLedger is the last line that ingest printed; nil when that is no ledger.
func lastLedger(printed []string) *ledger.Ledger {
	if len(printed) == 0 {
		return nil
	}
	l := new(ledger.Ledger)
	if json.Unmarshal([]byte(printed[len(printed)-1]), l) != nil {
		return nil
	}
	return l
}
