package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"functiongraph-ingest/internal/config"
)

// told reports whether a finding of a level says a text.
func (l findings) told(at level, text string) bool {
	return slices.ContainsFunc(l, func(f finding) bool { return f.Level == at && strings.Contains(f.String(), text) })
}

// What check says of a host that does not fit the settings; each with the setting, and nothing is changed by looking.
func TestLooksAtTheHost(t *testing.T) {
	call(t, "version") // clears the environment
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	dir := t.TempDir()
	file, empty := filepath.Join(dir, "file"), t.TempDir()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "gone"), link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, args string
		level      level
		want       string
	}{
		{"port in use", "--listen=" + taken, levelFailed, "--listen: " + taken + " is in use: end the process that has it"},
		{"admin port in use", "--admin=" + taken, levelFailed, "--admin: " + taken + " is in use"},
		{"address of another machine", "--listen=192.0.2.1:8080", levelFailed, "--listen: 192.0.2.1:8080 cannot be taken"},
		{"unix socket without a folder", "--listen=unix:" + dir + "/none/s", levelFailed, "/none/s cannot be taken: no such file or directory: choose a path for --listen where nothing is"},
		{"unix socket in the place of a file", "--admin=unix:" + file, levelFailed, "is there and is no socket: choose a path for --admin where nothing is"},
		{"unix socket", "--admin=unix:" + dir + "/s", levelOK, "/s is free"},
		{"short ack timeout", "--ack-timeout=1s", levelWarning, "--ack-timeout: 1s is not more than --request-timeout=5s"},
		{"spool is a file", "--spool-dir=" + file, levelFailed, "is a file: set --spool-dir to a directory"},
		{"spool below a file", "--spool-dir=" + file + "/spool", levelFailed, "--spool-dir"},
		{"spool behind a dead link", "--spool-dir=" + link, levelFailed, "is a link to what is not there: mend the link, or correct --spool-dir"},
		{"spool below a dead link", "--spool-dir=" + link + "/spool", levelFailed, "is a link to what is not there: mend the link, or correct --spool-dir"},
		{"spool in other use", "--spool-dir=" + dir, levelFailed, "is in other use"},
		{"new spool", "--spool-dir=" + dir + "/a/b/c", levelNote, "does not exist and is made at the start"},
		{"spool without room", "--spool-dir=" + empty + " --spool-keep-free=60000GiB", levelFailed, "there is no room: free space, or lower --spool-keep-free"},
		{"spool larger than the disk", "--spool-dir=" + empty + " --spool-max=60000GiB", levelWarning, "less than --spool-max=60000GiB"},
		{"spool below /sys", "--spool-dir=/sys/ingest/spool", levelFailed, "cannot be made in /sys: "},
		{"spool below /proc", "--spool-dir=/proc/ingest", levelFailed, "cannot be made in /proc: "},
		{"unix socket below /sys", "--listen=unix:/sys/s", levelFailed, "/sys/s cannot be taken: "},
		{"output below /sys", "--sink=ndjson --output=/sys/x", levelFailed, "--output=/sys/x: cannot be written"},
		{"output that cannot be written", "--sink=ndjson --output=/proc/none/x", levelFailed, "--output=/proc/none/x: cannot be written"},
		{"output that can be written", "--sink=ndjson --output=" + dir + "/new", levelOK, "can be written"},
	} {
		args := []string{"check", "--brokers=127.0.0.1:1", "--topic=t", "--request-timeout=5s"}
		if !strings.Contains(tt.args, "--listen") {
			args = append(args, "--listen=127.0.0.1:0")
		}
		if !strings.Contains(tt.args, "--admin") {
			args = append(args, "--admin=127.0.0.1:0")
		}
		cfg := parsed(t, append(args, strings.Fields(tt.args)...)...)
		budget, err := plan(cfg)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if l := look(t.Context(), cfg, budget); !l.told(tt.level, tt.want) {
			t.Errorf("%s: no %s %q in %v", tt.name, tt.level, tt.want, l)
		}
	}
	if names := namesIn(t, dir); !slices.Equal(names, []string{"file", "link"}) {
		t.Errorf("looks made something in a folder: %q", names)
	}
	if names := namesIn(t, empty); len(names) > 0 {
		t.Errorf("looks made something in the spool directory: %q", names)
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestLooksAtTheMemoryOfTheContainer(t *testing.T) {
	for _, tt := range []struct {
		most  config.Bytes
		level level
		want  string
	}{
		{0, levelOK, "no limit"},
		{72 * config.MiB, levelOK, "the control group allows 72MiB"},
		{40 * config.MiB, levelFailed, "the kernel would end the process under load: lower --memory-limit to 32MiB at most"},
	} {
		var l findings
		l.memory(&config.Config{MemoryLimit: 64 * config.MiB}, config.Host{MemoryBytes: int64(tt.most)})
		if !l.told(tt.level, tt.want) {
			t.Errorf("%s: %v", tt.most, l)
		}
	}
}

// Text of brokers and of files cannot move the cursor of a terminal or forge a line.
func TestFindingsHaveNoControlCharacters(t *testing.T) {
	var l findings
	l.add(levelNote, "x", "", "%s", "a\x1b[2J\nb\u009bc")
	if got := fmt.Sprint(l[0]); got != `x: a\u{1b}[2J\u{a}b\u{9b}c` {
		t.Errorf("%q", got)
	}
}
