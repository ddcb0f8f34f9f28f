package test

import (
	"path/filepath"
	"syscall"
	"testing"

	"functiongraph-ingest/test/proc"
)

// Signals that have another meaning, or none, end no process; those that end one lose nothing of what was answered 200.
func TestNoSignalLosesAnEvent(t *testing.T) {
	t.Parallel()
	for _, last := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(last.String(), func(t *testing.T) {
			p := proc.StartUnready(t, serveNowhere(t, "--ack=accept", "--spool-dir="+filepath.Join(t.TempDir(), "spool")))
			awaitSeen(t, "an address that answers", func() bool { c, _, err := p.Get("/healthz"); return err == nil && c == 200 })
			others := []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGCONT}
			for _, other := range others {
				if status, answer := post(t, p, "application/json", []byte(goodEvent)); status != 200 {
					t.Fatalf("%d %s", status, answer)
				}
				must(t, p.Signal(other))
			}
			awaitSeen(t, "what SIGHUP and SIGUSR1 say", func() bool {
				return lines(p, "read again on SIGHUP") == 1 && lines(p, "the log level has changed") == 1
			})
			must(t, p.Signal(last))
			code, err := p.Wait(t.Context())
			must(t, err)
			l, err := p.LastLedger()
			must(t, err)
			if want := int64(6 * len(others)); code != 0 || l.Admitted != want || l.Spooled != want {
				t.Errorf("exit code %d, %+v", code, l)
			}
		})
	}
}
