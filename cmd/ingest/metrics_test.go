package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/invocation"
	"functiongraph-ingest/internal/listen"
	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/internal/pipeline"
	"functiongraph-ingest/internal/skiptest"
	"functiongraph-ingest/pkg/sink"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// everyMetric is a pipeline with all that has metrics: a Kafka sink with a spool, and invocations.
func everyMetric(t *testing.T) (*metrics.Metrics, sink.Sink) {
	return metricsWith(t, "--spool-dir="+filepath.Join(t.TempDir(), "spool"))
}

func metricsWith(t *testing.T, more ...string) (*metrics.Metrics, sink.Sink) {
	t.Helper()
	args := append([]string{"serve", "--brokers=127.0.0.1:1", "--topic=t"}, more...)
	inv, err := config.Parse(args, config.ReadHost(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	budget, err := inv.Config.Budget()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	var d *disk
	if inv.Config.Spools() {
		d = newDisk(inv.Config, budget, log)
	}
	s, seen, err := newSink(inv.Config, budget, log, io.Discard, nil, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeWithin(s, time.Second) })
	p := pipeline.New(pipeline.Config{Listen: listen.Config{MaxBodyBytes: 1 << 20}, GateBytes: 4 << 20, RingItems: 16}, pipeline.Deps{Sink: s, Invocations: invocation.New()})
	m := metrics.New()
	registerBuild(m)
	p.Register(m, seen.dropReasons)
	seen.register(m)
	return m, s
}

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// docs/metrics.md is made from the registrations.
func TestMetricsPage(t *testing.T) {
	m, _ := everyMetric(t)
	page := "# Metrics\n\nWhat `/metrics` of `--admin` serves, in the text format of Prometheus.\nMade by `go test ./cmd/ingest -run TestMetricsPage -update`: do not edit.\n" +
		"Times are in seconds, sizes in bytes. Series of losses and refusals are there from the start, with every reason.\n" +
		"Rules for alerts are in [alerts.yml](alerts.yml).\n\n" + m.Markdown()
	path := filepath.Join("..", "..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile(path); err != nil || string(old) != page {
		t.Errorf("docs/metrics.md is out of date (%v): go test ./cmd/ingest -run TestMetricsPage -update", err)
	}
}

// promtool runs Prometheus' own checks.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		skiptest.Missing(t, "promtool is missing: the Debian package prometheus has it")
	}
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "ingest_") && args[0] == "check" && args[1] == "metrics" {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

func TestPromtoolIsContent(t *testing.T) {
	m, _ := everyMetric(t)
	promtool(t, scrape(t, m), "check", "metrics")
	promtool(t, "", "check", "rules", filepath.Join("..", "..", "docs", "alerts.yml"))
}

// series is a sample of a scrape, by its name with labels.
func series(t *testing.T, text, name string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("%s is not in the scrape", name)
	return ""
}

// The first loss of all fires the alert: its series was there before it, with 0.
func TestTheFirstLossFiresTheAlert(t *testing.T) {
	m, s := metricsWith(t)
	const name = `ingest_ledger_dropped_events_total{reason="too_large"}`
	before := scrape(t, m)
	// Larger than any topic takes, and there is no disk to set it aside.
	if err := s.DeadLetter(t.Context(), &sink.DeadLetter{Raw: make([]byte, 1_000_001), Reason: "bad_value"}, nil); err != nil {
		t.Fatal(err)
	}
	after := scrape(t, m)
	if series(t, before, name) != "0" || series(t, after, name) != "1" {
		t.Fatalf("%s before, %s after", series(t, before, name), series(t, after, name))
	}
	rules, err := filepath.Abs(filepath.Join("..", "..", "docs", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	test := filepath.Join(t.TempDir(), "test.yml")
	text := fmt.Sprintf(`rule_files: [%s]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - series: '%s'
        values: '%s %s %s %s'
    alert_rule_test:
      - alertname: IngestDropped
        eval_time: 15s
      - alertname: IngestDropped
        eval_time: 45s
        exp_alerts:
          - exp_labels: {reason: too_large}
            exp_annotations: {summary: " lost events that it had accepted, reason too_large"}
`, rules, name, series(t, before, name), series(t, before, name), series(t, after, name), series(t, after, name))
	if err := os.WriteFile(test, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "test", "rules", test)
}
