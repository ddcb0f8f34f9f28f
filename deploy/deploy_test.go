// Package deploy checks the files in its folders against the program: nothing here may name a metric or a setting that
// does not exist. The Kubernetes manifests and the Terraform module are checked against their schemas in deploy/check,
// a module of its own because of what that needs.
package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"functiongraph-ingest/internal/skiptest"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every metric that the dashboard and the rules name is in docs/metrics.md, which is generated from the program.
func TestMetricsExist(t *testing.T) {
	page := read(t, "../docs/metrics.md")
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana/ingest.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\b(?:ingest|process|go)_[a-z_]+`)
	known := func(where, expr string) (n int) {
		for _, m := range name.FindAllString(expr, -1) {
			base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(m, "_bucket"), "_sum"), "_count")
			if !strings.Contains(page, "`"+m+"`") && !strings.Contains(page, "`"+m+"{") && !strings.Contains(page, "`"+base+"` | histogram") {
				t.Errorf("%s names %s, which docs/metrics.md does not have", where, m)
			}
			n++
		}
		return n
	}
	n := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			n += known("the panel "+p.Title, target.Expr)
		}
	}
	if n < 25 {
		t.Errorf("only %d metrics in the dashboard", n)
	}
	rules := 0
	for line := range strings.Lines(read(t, "../docs/alerts.yml")) {
		if expr, ok := strings.CutPrefix(strings.TrimSpace(line), "expr:"); ok {
			rules += known("docs/alerts.yml", expr)
		}
	}
	if rules < 7 {
		t.Errorf("only %d metrics in the rules", rules)
	}
}

// The settings in the manifests are settings of the program, with values that it takes.
func TestSettingsInTheManifestsAreGood(t *testing.T) {
	_, after, ok := strings.Cut(read(t, "kubernetes/ingest.yaml"), "  ingest.yaml: |\n")
	if !ok {
		t.Fatal("no settings in the ConfigMap")
	}
	var settings strings.Builder
	for line := range strings.Lines(after) {
		rest, ok := strings.CutPrefix(line, "    ")
		if !ok {
			break
		}
		settings.WriteString(rest)
	}
	dir := t.TempDir()
	text := settings.String()
	for _, mounted := range []string{"/spool", "/etc/ingest"} { // as on the machine of a pod
		text = strings.ReplaceAll(text, mounted, filepath.Join(dir, filepath.Base(mounted)))
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("ingest/login/password", "secret\n")
	write("ingest/tls/ca.crt", read(t, "testdata/ca.pem"))
	cmd := exec.CommandContext(t.Context(), "go", "run", "../cmd/ingest", "check", "--offline", "--config", write("settings.yaml", text))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ingest check: %v\n%s", err, out)
	}
	// The memory of the container holds what the program may use, and SIGTERM has its time.
	if !strings.Contains(text, "memory-limit: 192MiB") || !strings.Contains(after, "memory: 256Mi") {
		t.Error("--memory-limit and the limit of the container: change this test with them")
	}
}

// systemd understands the unit, and finds it well shut in.
func TestUnitIsGood(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		skiptest.Missing(t, "systemd-analyze is missing: the Debian package systemd has it")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "ingest.service")
	text := strings.ReplaceAll(read(t, "systemd/ingest.service"), "/usr/local/bin/ingest", program)
	if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", unit).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", "--threshold=20", unit).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
