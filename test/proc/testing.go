package proc

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// Start launches a process for a test and waits until it is ready. At the test's end it is killed if
// it still runs, what it wrote to stderr is logged if the test failed, and a report of the race
// detector fails the test.
func Start(t testing.TB, o Options) *Process {
	t.Helper()
	p := StartUnready(t, o)
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// StartUnready is Start without the wait, for processes that cannot get ready.
func StartUnready(t testing.TB, o Options) *Process {
	t.Helper()
	p, err := Launch(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		stderr := p.Stderr()
		if strings.Contains(stderr, "WARNING: DATA RACE") {
			t.Error("the race detector spoke up")
		}
		if line := unfit(stderr); line != "" {
			t.Errorf("a line of the log says nothing, or holds control characters: %q", line)
		}
		if t.Failed() {
			t.Logf("process %d %v said:\n%s", p.PID(), o.Args, stderr)
		}
	})
	return p
}

// unfit is the first line of a log that has an error that is none, or what a terminal acts on; "": there is none.
func unfit(log string) string {
	for line := range strings.Lines(log) {
		if !utf8.ValidString(line) || strings.ContainsFunc(strings.Trim(line, "\t\n"), unicode.IsControl) ||
			strings.Contains(line, "<nil>") || strings.Contains(line, "error=0 ") || strings.HasSuffix(line, "error=0\n") {
			return line
		}
	}
	return ""
}

// MustLedger is Ledger, or the test fails.
func (p *Process) MustLedger(t testing.TB) *Ledger {
	t.Helper()
	l, err := p.Ledger()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// MustStop sends SIGTERM, waits for the end, and returns the exit code and the last line's ledger,
// which must be in balance.
func (p *Process) MustStop(t testing.TB) (int, *Ledger) {
	t.Helper()
	code, err := p.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.LastLedger()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Balance(); err != nil {
		t.Error(err)
	}
	return code, l
}

// WaitLedger polls /ledger until cond holds and returns that ledger; the test fails after within.
func (p *Process) WaitLedger(t testing.TB, within time.Duration, what string, cond func(*Ledger) bool) *Ledger {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		l, err := p.Ledger()
		if err == nil && cond(l) {
			return l
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the ledger never showed %s within %v; last: %+v, %v", what, within, l, err)
		case <-time.After(pollInterval):
		}
	}
}
