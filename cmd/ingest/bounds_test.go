package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/pipeline"
)

// construct makes everything that serve makes, without listening or dialling, and takes it down again.
// A panic is an error, so that a table goes on.
func construct(cfg *config.Config) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	budget, err := plan(cfg)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	out, _, err := newSink(cfg, budget, log, io.Discard, make(chan struct{}), nil)
	if err != nil {
		return fmt.Errorf("plan accepts what the sink refuses: %w", err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	defer out.Close(ended)
	pipeline.New(pipelineConfig(cfg, budget, cfg.ListenAddresses()[0], false), pipeline.Deps{Sink: out, Logger: log})
	return nil
}

// parsed is the settings of a command line in an empty environment.
func parsed(t *testing.T, args ...string) *config.Config {
	t.Helper()
	inv, err := config.Parse(args, config.Host{Name: "h"}, io.Discard)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return inv.Config
}

// The least and the most that a setting is declared to take can be served, one beyond is refused by name, and
// nothing panics: check and serve have the same bounds.
func TestBoundsThatServeEnforcesAreThoseOfCheck(t *testing.T) {
	call(t, "version") // clears the environment
	for _, s := range config.Settings() {
		if s.Min == "" {
			continue
		}
		room := []string{"serve", "--brokers=127.0.0.1:1", "--topic=t", "--memory-limit=256MiB", "--admin=off"}
		switch s.Name {
		case "batch-bytes":
			room = append(room, "--buffer-bytes=64MiB")
		case "buffer-bytes":
			room = append(room, "--batch-bytes=16KiB")
		case "max-conns":
			room = append(room, "--memory-limit=64GiB")
		case "linger":
			room = append(room, "--ack=accept")
		case "spool-max":
			room = append(room, "--spool-dir="+t.TempDir(), "--max-body=2B")
		case "ack-timeout":
			room = append(room, "--linger=0")
		}
		try := func(value string) error { return construct(parsed(t, append(room, "--"+s.Name+"="+value)...)) }
		for _, good := range []string{s.Min, s.Max, s.Also, s.Default} {
			if good == "" || good == s.Min && s.Name == "memory-limit" { // the parts need more, and say how much
				continue
			}
			if err := try(good); err != nil {
				t.Errorf("--%s=%s: %v", s.Name, good, err)
			}
		}
		for _, bad := range []string{beyond(t, s, s.Min, -1), beyond(t, s, s.Max, 1)} {
			if bad == "" || bad == s.Also {
				continue
			}
			err := try(bad)
			var problems config.Problems
			if !errors.As(err, &problems) || len(problems) != 1 || !strings.HasPrefix(problems[0], "--"+s.Name+"=") ||
				!strings.Contains(problems[0], "must be from "+s.Min+" to "+s.Max) {
				t.Errorf("--%s=%s: %v", s.Name, bad, err)
			}
		}
	}
}

// beyond is one step beyond a bound; "" where it cannot be written.
func beyond(t *testing.T, s config.Setting, bound string, step int64) string {
	t.Helper()
	switch s.Type {
	case "NUMBER":
		n, err := strconv.ParseInt(bound, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(n+step, 10)
	case "DURATION":
		d, err := time.ParseDuration(bound)
		if err != nil {
			t.Fatal(err)
		}
		return (d + time.Duration(step)).String()
	}
	n, err := config.ParseBytes(bound)
	if err != nil {
		t.Fatal(err)
	}
	if n += config.Bytes(step); n < 0 {
		return ""
	}
	return n.String()
}

// Settings at their bounds in odd company: what plan accepts can be served, and nothing panics.
func TestOddCombinationsOfSettingsNeverPanic(t *testing.T) {
	call(t, "version")
	const rounds = 600
	rng := rand.New(rand.NewPCG(1, 2))
	settings := config.Settings()
	dir := t.TempDir()
	accepted := 0
	for range rounds {
		args := []string{"serve", "--brokers=127.0.0.1:1", "--topic=t"}
		if rng.IntN(2) == 0 {
			args = append(args, "--spool-dir="+dir)
		}
		for _, s := range settings {
			if rng.IntN(3) > 0 {
				continue
			}
			var values []string
			for _, v := range append([]string{s.Min, s.Max, s.Also, s.Default}, s.Values...) {
				if v != "" && s.Name != "sink" && (s.Min != "" || s.Values != nil) {
					values = append(values, v)
				}
			}
			if len(values) > 0 {
				args = append(args, "--"+s.Name+"="+values[rng.IntN(len(values))])
			}
		}
		err := construct(parsed(t, args...))
		var problems config.Problems
		switch {
		case err == nil:
			accepted++
		case !errors.As(err, &problems):
			t.Errorf("%s: %v", strings.Join(args, " "), err)
		}
	}
	t.Logf("%d of %d accepted", accepted, rounds)
	if accepted < rounds/100 {
		t.Errorf("only %d of %d were accepted: the table says nothing", accepted, rounds)
	}
}

// The exit codes of check and of serve agree, in a process of its own settings, for what was found in the field.
func TestCheckRefusesWhatServeRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--ring-items=524289", "--ring-items=524289: must be from 1 to 524288"},
		{"--memory-limit=3000GiB", "--memory-limit=3000GiB: must be from 1MiB to 1024GiB"},
		{"--batch-bytes=8KiB", "--batch-bytes=8KiB: must be from 16KiB to 1MiB"},
		{"--batch-bytes=2MiB", "--batch-bytes=2MiB: must be from 16KiB to 1MiB"},
		{"--metadata-ttl=1ns", "--metadata-ttl=1ns: must be from 1s to 24h"},
		{"--tls --tls-ca=main.go", "--tls-ca=main.go: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"},
		{"--sasl=u:p\aq --sasl-mechanism=SCRAM-SHA-256", "kafka: the SASL user or password has a character that SCRAM does not allow, for example a control character"},
	} {
		args := append(strings.Split(tt.args, " "), "--brokers=127.0.0.1:1", "--topic=t")
		for _, command := range []string{"check", "serve"} {
			code, _, stderr := call(t, append([]string{command}, args...)...)
			if code != exitUsage || stderr != "ingest: "+tt.want+"\n" {
				t.Errorf("%s %s: exit code %d, %q, want %q", command, tt.args, code, stderr, tt.want)
			}
		}
		var out, errs bytes.Buffer
		ended, end := context.WithCancel(context.Background())
		end()
		cfg := parsed(t, append([]string{"extension", "--listen=127.0.0.1:8081-8090"}, args...)...)
		runExtension(ended, ended, cfg, &running{}, nil, "", &out, &errs)
		if !strings.Contains(errs.String(), "bad settings: the function runs on") {
			t.Errorf("extension %s: %s", tt.args, &errs)
		}
	}
}
