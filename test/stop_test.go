package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/test/proc"
)

// neverReached are brokers that never come, so that a stop has nothing to wait for.
func neverReached(t *testing.T) map[string]string {
	return map[string]string{"nothing listens": "127.0.0.1:1", "no such name": "no.such.host.invalid:9092", "no answer": deaf(t)}
}

// SIGTERM ends a process that never reached Kafka at once, with all its events on disk, whatever --shutdown-timeout
// allows: here an hour, for which the test does not wait. The next process finds them and ends in the same way.
func TestStopDoesNotWaitForAKafkaThatWasNeverReached(t *testing.T) {
	t.Parallel()
	for name, broker := range neverReached(t) {
		for _, ack := range []string{"accept", "disk", "kafka"} {
			t.Run(name+", "+ack, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "spool")
				o := proc.Serve(proc.Build(t), broker, "t", "--ack="+ack, "--spool-dir="+dir, "--shutdown-timeout=1h", "--ack-timeout=1s", "--request-timeout=1s")
				want := map[string]int{"accept": 200, "disk": 200, "kafka": 504}[ack] // 504: the outcome is open
				for life := range int64(2) {
					p := proc.StartUnready(t, o)
					awaitServed(t, p)
					if status, answer := post(t, p, "application/json", []byte(goodEvent)); status != want {
						t.Errorf("%d %s", status, answer)
					}
					code, l := p.MustStop(t)
					if code != 0 || l.Spooled != 6*(life+1) || l.Recovered != 6*life || l.InFlight != 0 || l.DroppedTotal() != 0 {
						t.Errorf("exit %d, ledger %+v\n%s", code, l, p.Stderr())
					}
				}
			})
		}
	}
}

// ingest spool replay ends when --timeout is over, whatever --shutdown-timeout allows, says why, and leaves everything
// where it was.
func TestReplayKeepsItsTimeout(t *testing.T) {
	t.Parallel()
	for name, broker := range neverReached(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "spool")
			filled(t, dir)
			for _, timeout := range []string{"100ms", "3s"} {
				cmd := exec.CommandContext(patient(t), proc.Build(t), "spool", "replay", "--spool-dir="+dir, "--timeout="+timeout, "--brokers="+broker, "--topic=t", "--shutdown-timeout=1h")
				said, err := cmd.CombinedOutput()
				if cmd.ProcessState.ExitCode() <= 0 || !strings.Contains(string(said), `"spooled":6,`) {
					t.Errorf("--timeout=%s: %v\n%s", timeout, err, said)
				}
			}
		})
	}
}
