package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/internal/fgsim"
)

func TestBuiltinScenarios(t *testing.T) {
	names := builtin()
	for _, want := range []string{"busy", "cold-start", "freeze", "hostile", "idle", "neighbour", "sigterm", "slips"} {
		if s, err := scenario(want, []string{"seed=3"}); err != nil || s.Name != want || s.Seed != 3 {
			t.Errorf("%s: %+v, %v", want, s, err)
		}
	}
	if len(names) != 8 {
		t.Errorf("%q", names)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("README.md does not tell of %s", name)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"-exec true", "want one scenario"},
		{"busy", "either -package or -exec"},
		{"-exec true -package x busy", "either -package or -exec"},
		{"-exec true nosuch", "nosuch"},
		{"-exec true -env NAME busy", "NAME=VALUE"},
		{"-exec true -set traffic.rate=-1 busy", "traffic.rate"},
		{"-exec true -concurrency 1001 busy", "1 to 1,000"},
		{"-package /nosuch.zip busy", "/nosuch.zip"},
		{"-nosuch", "-nosuch"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%s: exit %d, %s", tt.args, code, &stderr)
		}
	}
	if code := run(t.Context(), []string{"-h"}, &bytes.Buffer{}, &bytes.Buffer{}); code != exitOK {
		t.Errorf("-h exits with %d", code)
	}
}

// A command that is no extension at all: the report is there, as JSON and as text, and the exit code says it.
func TestReportOfAFailure(t *testing.T) {
	var stdout, stderr bytes.Buffer
	record := filepath.Join(t.TempDir(), "record")
	code := run(t.Context(), []string{"-exec", "sh -c 'echo hello; exit 4'", "-json", "-verbose", "-record", record, "busy"}, &stdout, &stderr)
	var r fgsim.Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, &stdout)
	}
	if code != exitFault || r.Exit.Code != 4 || len(r.Violations) != 1 || r.Violations[0].Code != fgsim.Died || !strings.Contains(stderr.String(), "hello") {
		t.Errorf("exit %d, %+v, %s", code, r, &stderr)
	}
	stdout.Reset()
	if code := run(t.Context(), []string{"-exec", "false", "busy"}, &stdout, &stderr); code != exitFault || !strings.Contains(stdout.String(), "VIOLATION    died") {
		t.Errorf("exit %d, %s", code, &stdout)
	}
}
