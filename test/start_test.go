package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/internal/skiptest"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/test/proc"
)

// What keeps serve from starting: it ends with 1 and one line that names cause and remedy, ingest check finds it, and
// when it is mended the next start works.
func TestTroubleAtTheStartIsNamed(t *testing.T) {
	running := serveNowhere(t)
	running.Args = append(running.Args, "--ack=accept", "--spool-dir="+filepath.Join(t.TempDir(), "spool"))
	first := proc.StartUnready(t, running)
	awaitSeen(t, "an address that answers", func() bool { c, _, err := first.Get("/healthz"); return err == nil && c == 200 })

	foreign, newer := filepath.Join(t.TempDir(), "foreign"), filepath.Join(t.TempDir(), "newer")
	must(t, os.Mkdir(foreign, 0o700))
	used := t.TempDir()
	must(t, os.Chmod(used, 0o755))
	must(t, os.WriteFile(filepath.Join(used, "app.conf"), nil, 0o644))
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	filled(t, newer)
	segments, err := filepath.Glob(filepath.Join(newer, "*.seg"))
	if must(t, err); len(segments) == 0 {
		t.Fatal("no segment")
	}
	old, err := os.ReadFile(segments[0])
	must(t, err)

	for _, tt := range []struct {
		name, setting string
		root          bool // is needed
		begin, mend   func() error
		words, check  []string
	}{
		{"port taken", "--listen=" + first.Listen, false, nil, nil, []string{"--listen: " + first.Listen + " is in use", "choose another --listen"}, []string{"--listen: " + first.Listen + " is in use"}},
		{"admin port taken", "--admin=" + first.Admin, false, nil, nil, []string{"--admin: " + first.Admin + " is in use", "choose another --admin"}, []string{"--admin: " + first.Admin + " is in use"}},
		{
			"spool foreign", "--spool-dir=" + foreign, true, func() error { return os.Chown(foreign, 4711, 4711) }, func() error { return os.Chown(foreign, os.Getuid(), os.Getgid()) },
			[]string{"--spool-dir=" + foreign, "4711", "change the owner"}, []string{"belongs to user 4711", "--spool-dir"},
		},
		{
			"spool newer version", "--spool-dir=" + newer, false, func() error {
				return os.WriteFile(segments[0], spooltest.SetVersion(append([]byte(nil), old...), 2), 0o600)
			},
			func() error { return os.WriteFile(segments[0], old, 0o600) },
			[]string{"--spool-dir=" + newer, "version 2"}, []string{"have another format", "start the version of ingest that wrote them"},
		},
		{
			"spool in other use", "--spool-dir=" + used, false, nil, func() error { return os.Remove(filepath.Join(used, "app.conf")) },
			[]string{"--spool-dir=" + used, "in other use", "app.conf", "a directory of its own"}, []string{"in other use", "a directory of its own in --spool-dir"},
		},
		{"spool is a file", "--spool-dir=" + file, false, nil, func() error { return os.Remove(file) }, []string{"--spool-dir=" + file, "it must be a directory"}, []string{"is a file", "set --spool-dir"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Getuid() != 0 {
				skiptest.Missing(t, "only root can give files away")
			}
			if tt.begin != nil {
				must(t, tt.begin())
			}
			args := []string{"--ack=accept", tt.setting}
			o := serveNowhere(t, args...)
			p := proc.StartUnready(t, o)
			code, err := p.Wait(t.Context())
			if must(t, err); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if lines(p, append(tt.words, "level=ERROR", "cannot start")...) != 1 || lines(p, "level=ERROR") != 1 {
				t.Errorf("not one line with %q", tt.words)
			}
			_, stdout, stderr := checked(t, append(args, "--brokers=127.0.0.1:1", "--topic=t")...)
			for _, word := range tt.check {
				if !strings.Contains(stdout+stderr, word) {
					t.Errorf("check does not say %q:\n%s", word, stderr)
				}
			}
			if tt.mend == nil {
				return
			}
			must(t, tt.mend())
			again := proc.StartUnready(t, o)
			awaitSeen(t, "a start", func() bool { c, _, err := again.Get("/healthz"); return err == nil && c == 200 })
			again.MustStop(t)
		})
	}

	// A spool that another process has is waited for: the next one takes over without a restart.
	t.Run("spool locked", func(t *testing.T) {
		second := proc.StartUnready(t, serveNowhere(t, running.Args[len(running.Args)-2:]...))
		awaitSeen(t, "the line", func() bool {
			return lines(second, "level=WARN", "cannot be opened yet", "within=30s", "error=", "process") == 1
		})
		_, _, stderr := checked(t, append(running.Args[len(running.Args)-1:], "--ack=accept", "--brokers=127.0.0.1:1", "--topic=t")...)
		if !strings.Contains(stderr, "is in use by process") {
			t.Errorf("check says\n%s", stderr)
		}
		first.MustStop(t)
		awaitSeen(t, "a start", func() bool { c, _, err := second.Get("/healthz"); return err == nil && c == 200 })
		second.MustStop(t)
	})

	t.Run("descriptors short", func(t *testing.T) {
		o := serveNowhere(t, "--max-conns=1000")
		script := []string{"-c", `ulimit -n 200; exec "$0" "$@"`, o.Bin}
		o.Bin, o.Args = "/bin/sh", append(script, o.Args...)
		p := proc.StartUnready(t, o)
		awaitSeen(t, "the line", func() bool { return lines(p, "level=WARN", "ulimit -n", "--max-conns", "lower") == 1 })
		awaitSeen(t, "a start", func() bool { c, _, err := p.Get("/healthz"); return err == nil && c == 200 })
		p.MustStop(t)
	})
}

// filled leaves a spool with an event in it.
func filled(t *testing.T, dir string) {
	t.Helper()
	p := proc.StartUnready(t, serveNowhere(t, "--ack=accept", "--spool-dir="+dir))
	awaitSeen(t, "an address that answers", func() bool { c, _, err := p.Get("/healthz"); return err == nil && c == 200 })
	if status, answer := post(t, p, "application/json", []byte(goodEvent)); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	if code, l := p.MustStop(t); code != 0 || l.Spooled != 6 {
		t.Fatalf("exit code %d, %+v", code, l)
	}
}
