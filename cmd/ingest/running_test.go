package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/internal/reload"
)

// SIGHUP takes over what can change, names what cannot, and keeps the old settings when the new ones are no good.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "ingest.yaml"), filepath.Join(dir, "password")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const start = "topic: t\nbrokers: b:9092\nsasl-mechanism: PLAIN\nsasl-user: u\nsasl-password-file: "
	write(file, start+secret+"\n")
	write(secret, "pw-uno")
	args := []string{"serve", "--config", file}
	var out bytes.Buffer
	cfg, err := parseAgain(args)()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{cfg: cfg, parse: parseAgain(args), level: logging.NewLevel(cfg.LogLevel)}
	r.log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	login, err := newCredentials(cfg, r.log)
	if err != nil {
		t.Fatal(err)
	}
	r.files = login.files
	for _, tt := range []struct {
		name, yaml, secret string
		lines              []string // each line that is logged, in part
		password           string
		level              slog.Level
	}{
		{"nothing", "", "pw-uno", []string{"changed=[] failed=[]"}, "pw-uno", slog.LevelInfo},
		{"password", "", "pw-due", []string{"read again\" setting=--sasl-password-file", "changed=[--sasl-password-file] failed=[]"}, "pw-due", slog.LevelInfo},
		{"level", "log-level: debug", "pw-due", []string{"changed=[--log-level] failed=[]"}, "pw-due", slog.LevelDebug},
		{"restart", "log-level: warn\nlinger: 3ms\ntls: true", "pw-due", []string{"restart it\" settings=\"[--linger --tls]\"", "changed=[--log-level] failed=[]"}, "pw-due", slog.LevelWarn},
		{"not YAML", "[", "pw-tre", []string{"setting=--sasl-password-file", "the new settings are wrong", "changed=[--sasl-password-file] failed=[]"}, "pw-tre", slog.LevelWarn},
		{"not good", "log-level: loud", "pw-tre", []string{"the new settings are wrong", "changed=[] failed=[]"}, "pw-tre", slog.LevelWarn},
		{"no password", "", "\n", []string{"cannot be used", "the new settings are wrong", "changed=[] failed=[--sasl-password-file]"}, "pw-tre", slog.LevelWarn},
		{"mended", "log-level: warn", "pw-tre", []string{"read again\" setting=--sasl-password-file", "changed=[--sasl-password-file] failed=[]"}, "pw-tre", slog.LevelWarn},
	} {
		out.Reset()
		write(file, start+secret+"\n"+tt.yaml+"\n")
		write(secret, tt.secret)
		r.reload()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != len(tt.lines) {
			t.Errorf("%s: %d lines, want %d:\n%s", tt.name, len(lines), len(tt.lines), &out)
			continue
		}
		for i, want := range tt.lines {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: line %d is %s, want %q", tt.name, i, lines[i], want)
			}
		}
		if got := *login.password.Load(); got != tt.password {
			t.Errorf("%s: the password in use is %q, want %q", tt.name, got, tt.password)
		}
		if got := r.level.Level(); got != tt.level {
			t.Errorf("%s: level %s, want %s", tt.name, got, tt.level)
		}
		for _, word := range []string{"pw-uno", "pw-due", "pw-tre"} {
			if strings.Contains(out.String(), word) {
				t.Errorf("%s: the log has the password %q", tt.name, word)
			}
		}
	}
}

// A reload while the settings of an extension are bad has no files to look at.
func TestReloadWithoutFiles(t *testing.T) {
	var files *reload.Files
	cfg, err := config.Fallback(config.Host{})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{cfg: cfg, files: files, parse: parseAgain([]string{"extension"}), level: logging.NewLevel("info"), log: slog.New(slog.DiscardHandler)}
	r.reload()
}
