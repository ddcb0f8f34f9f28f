package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/internal/simulator"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// packageOf builds the dependency package of an architecture as users get it.
func packageOf(t *testing.T, arch string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "run", "functiongraph-ingest/cmd/package", "-arch", arch, "-out", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("package: %v\n%s", err, out)
	}
	return filepath.Join(dir, "ingest-extension-linux-"+arch+".zip")
}

// posted counts events on their way to the account: those of bodies answered 200, and those whose fate
// another answer, or none, leaves open.
type posted struct {
	*fgsim.Account
	mu          sync.Mutex
	acked, open int64
}

func (p *posted) Posted(d *simulator.Delivery, status int, took time.Duration) {
	p.Account.Posted(d, status, took)
	p.mu.Lock()
	defer p.mu.Unlock()
	if status == 200 {
		p.acked += int64(len(d.Events))
	} else {
		p.open += int64(len(d.Events))
	}
}

// The package in the simulator, against a real Kafka: zip, start script, registration, subscription,
// invocations, telemetry, SIGTERM. What was answered 200 is there once, in order, and the ledger of the last
// line says the same.
func TestPackageInFunctionGraph(t *testing.T) {
	k := kafka(t)
	zipped := packageOf(t, runtime.GOARCH)
	for _, tt := range []struct {
		name, topic, scenario string
		freezes               int
		invocations           int64 // at least
	}{
		{"1,000 invocations at once, 10 freezes", "fgsim-freezes",
			"{traffic: {duration: 8s, concurrency: 1000, steady: true, connections: 8, rate: 20000}, freeze: {times: 10, for: 200ms}, platform: {slips: 0.1, invoke: both, resend: 200}}", 10, 1000},
		{"hostile", "fgsim-hostile",
			"{traffic: {duration: 5s, concurrency: 200, connections: 8, rate: 5000, burst: 4}, platform: {invoke: both, resend: 20, slips: 0.1, broken: 0.1, duplicate: 0.02, chunked: 0.2, slow: 0.02, slowFor: 300ms, oversize: 0.01, size: 8MiB}}", 0, 200},
		{"SIGTERM under load", "fgsim-sigterm",
			"{traffic: {duration: 2s, concurrency: 500, steady: true, connections: 8, rate: 20000}, platform: {resend: 200}, stop: {underLoad: true}}", 0, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			report, account := inFunctionGraph(t, k, tt.topic, tt.scenario, fgsim.Options{Package: zipped})
			if report.Freezes != tt.freezes || report.Invocations.Sent < tt.invocations {
				t.Errorf("%d freezes, %d invocations", report.Freezes, report.Invocations.Sent)
			}
			if n := report.Posts.ByStatus["413"]; (n > 0) != (report.Posts.Oversize > 0) || (tt.name == "hostile") != (n > 0) {
				t.Errorf("%d oversize bodies, %d answers 413", report.Posts.Oversize, n)
			}
			t.Logf("%d events acked, %d open", account.acked, account.open)
		})
	}
}

// inFunctionGraph plays a scenario with the extension that o names, against a topic that it makes, and judges the
// end of the process, its answers, what arrived, and the ledger.
func inFunctionGraph(t *testing.T, k *kafkatest.Cluster, topic, scenario string, o fgsim.Options) (*fgsim.Report, *posted) {
	t.Helper()
	k.Topic(t, topic, 4, nil)
	k.Topic(t, topic+".dlq", 1, nil)
	s, err := fgsim.Parse([]byte(scenario), "name="+topic, "ready=60s", "stop.grace=30s")
	must(t, err)
	account := &posted{Account: fgsim.NewAccount()}
	o.Scenario, o.Recorder = s, account
	o.Env = append(o.Env,
		"INGEST_BROKERS="+k.Bootstrap(), "INGEST_TOPIC="+topic,
		"INGEST_SPOOL_DIR="+filepath.Join(t.TempDir(), "spool"), "INGEST_SHUTDOWN_TIMEOUT=20s")
	report, err := fgsim.Run(t.Context(), o)
	must(t, err)
	var told strings.Builder
	must(t, report.WriteText(&told))
	t.Log("\n" + told.String())
	if !report.OK() || report.Exit.Code != 0 {
		t.Errorf("exit code %d, or the simulator found faults", report.Exit.Code)
	}
	for status, n := range report.Posts.ByStatus {
		late := status == "none" && s.Stop.UnderLoad // it has ended
		if status != "200" && status != "413" && status != "503" && !late {
			t.Errorf("%d posts have the answer %s", n, status)
		}
	}
	events, dead := consume(t, k, account, topic)
	v := account.Verdict()
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	if err := books(report, account, events, dead); err != nil {
		t.Error(err)
	}
	return report, account
}

// consume shows the account what is in the topic and in that of its dead letters, and counts it.
func consume(t *testing.T, k *kafkatest.Cluster, account *posted, topic string) (events, dead int64) {
	t.Helper()
	for _, m := range kafkatest.Kcat(t, k.Bootstrap(), topic) {
		if _, mark := m.Header("ingest-mark"); mark {
			continue
		}
		trace, _ := m.Header("ingest-trace")
		account.Saw(fgsim.Sighting{Key: string(m.Key), Value: m.Value, Partition: int32(m.Partition), Invocation: trace})
		events++
	}
	for _, m := range kafkatest.Kcat(t, k.Bootstrap(), topic+".dlq") {
		account.Saw(fgsim.Sighting{Key: string(m.Key), Value: m.Value, Partition: int32(m.Partition), DeadLetter: true})
		dead++
	}
	return events, dead
}

// books compares the ledger, the last line that was printed, with what was posted and with what was found.
func books(report *fgsim.Report, p *posted, events, dead int64) error {
	tail := report.Printed.Tail
	if len(tail) == 0 {
		return fmt.Errorf("nothing was printed")
	}
	d := json.NewDecoder(bytes.NewReader([]byte(tail[len(tail)-1])))
	d.DisallowUnknownFields()
	var l proc.Ledger
	if err := d.Decode(&l); err != nil {
		return fmt.Errorf("the last line is no ledger: %w: %q", err, tail[len(tail)-1])
	}
	if err := l.Balance(); err != nil {
		return err
	}
	if l.Delivered != events || l.DeadLettered != dead || events == 0 {
		return fmt.Errorf("%d events and %d dead letters found, ledger %+v", events, dead, l)
	}
	// The process's own lines are not admitted. What was not answered 200 may be.
	if in := l.Admitted + l.OwnLines; in < p.acked || in > p.acked+p.open || l.OwnLines == 0 {
		return fmt.Errorf("%d events acknowledged, %d open, ledger %+v", p.acked, p.open, l)
	}
	if l.Recovered+l.SetAside+l.Spooled+l.InFlight+l.DroppedTotal() != 0 {
		return fmt.Errorf("Kafka was there all the time, ledger %+v", l)
	}
	return nil
}
