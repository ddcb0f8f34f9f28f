package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The commands that look change no byte of a directory, say by their exit code what they found, and write
// nothing into it.
func TestSpoolLooks(t *testing.T) {
	dir := outage(t, nil, "t", 100)
	damaged := outage(t, nil, "t", 100)
	damage(t, damaged)
	file := filepath.Join(t.TempDir(), "events")
	inside, link := filepath.Join(dir, "events"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(dir, "setaside", ".."), link); err != nil {
		t.Fatal(err)
	}
	before := []map[string]string{contents(t, dir), contents(t, damaged)}
	for _, tt := range []struct {
		args           string
		code           int
		stdout, stderr string // must be in it; "" is nothing at all
	}{
		{"ls " + dir, exitOK, "\ntotal ", ""},
		{"ls --json " + dir, exitOK, `"events": 301,`, ""},
		{"ls " + damaged, exitOK, "\ndamaged: 1 regions, ", ""},
		{"verify " + dir, exitOK, " 301 records, 0 set-aside files, 0 torn ends: 0 damaged\n", ""},
		{"verify " + damaged, exitDamaged, ": damaged bytes; partition -1 of t, ", ""},
		{"verify " + dir + "/none", exitFailed, "", "no such file or directory\n"},
		{"verify " + filepath.Dir(file), exitFailed, "", "is no spool directory: it has neither segments nor cursors\n"},
		{"verify", exitUsage, "", `expected "<dir>" (see ingest spool verify --help)`},
		{"export " + dir, exitOK, `{"traceId":"a","n":99}` + "\n", "ingest: 300 records; left out: 1 dead letters (--topic takes them), 0 damaged regions\n"},
		{"export --topic=t.dlq " + dir, exitOK, "\"[\"\n", "ingest: 1 records; left out: 0 dead letters"},
		{"export --partition=7 " + dir, exitOK, "", "ingest: 0 records; "},
		{"export " + damaged, exitDamaged, "", "1 damaged regions\n"},
		{"export --output=" + file + " " + dir, exitOK, "", "ingest: 300 records; "},
		{"export --output=" + file + " " + dir, exitFailed, "", "file exists\n"},
		{"export --output=" + inside + " " + dir, exitFailed, "", "is in the spool directory, which is only read\n"},
		{"export --output=" + filepath.Join(link, "events") + " " + dir, exitFailed, "", "is in the spool directory, which is only read\n"},
		{"export --since=yesterday " + dir, exitUsage, "", `--since: "yesterday" is neither an age like 2h nor a time like `},
		{"export --partition=x " + dir, exitUsage, "", "--partition"},
	} {
		code, stdout, stderr := call(t, append([]string{"spool"}, strings.Fields(tt.args)...)...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || tt.stdout == "" && stdout != "" ||
			!strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
			t.Errorf("%s: exit code %d, want %d\n%s\n%s", tt.args, code, tt.code, stdout, stderr)
		}
	}
	if p, err := os.ReadFile(file); err != nil || strings.Count(string(p), "\n") != 300 {
		t.Errorf("the output file has %d bytes, %v", len(p), err)
	}
	for i, d := range []string{dir, damaged} {
		if !maps.Equal(before[i], contents(t, d)) {
			t.Errorf("%s was changed", d)
		}
	}
}
