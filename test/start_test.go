package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"functiongraph-ingest/internal/skiptest"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/test/proc"
)

// obstacle is what keeps serve from starting, or from starting as it was told. docs/troubleshooting.md has the rows.
type obstacle struct {
	name   string
	page   string // how the row of the page begins
	args   []string
	limit  int  // of descriptors, until it is mended; 0: as it is
	root   bool // only root can make it
	begin  func() error
	mend   func() error
	goesOn bool // serve starts all the same, or once it is mended; else it ends with 1
	words  []string
	check  []string // in one line of ingest check; the page has them
}

// What keeps serve from starting: one line names cause and remedy, before the start or instead of it, ingest check finds
// it, and when it is mended the same process starts, or the next one.
func TestTroubleAtTheStartIsNamed(t *testing.T) {
	t.Parallel()
	locked, foreign, newer := filepath.Join(t.TempDir(), "locked"), filepath.Join(t.TempDir(), "foreign"), filepath.Join(t.TempDir(), "newer")
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
	ports := []net.Listener{held(t), held(t)}
	listen, admin := ports[0].Addr().String(), ports[1].Addr().String()
	var owner *proc.Process

	for _, o := range []obstacle{
		{
			name: "port taken", page: "`--listen` or `--admin` is taken", args: []string{"--listen=" + listen}, mend: ports[0].Close,
			words: []string{"--listen: " + listen + " is in use", "choose another --listen"}, check: []string{"is in use", "end the process that has it"},
		},
		{
			name: "admin port taken", page: "`--listen` or `--admin` is taken", args: []string{"--admin=" + admin}, mend: ports[1].Close,
			words: []string{"--admin: " + admin + " is in use", "choose another --admin"}, check: []string{"is in use", "end the process that has it"},
		},
		{
			name: "spool locked", page: "another process has the spool", args: []string{"--spool-dir=" + locked}, goesOn: true,
			begin: func() error { owner = served(t, serveNowhere(t, "--ack=accept", "--spool-dir="+locked)); return nil },
			mend:  func() error { owner.MustStop(t); return nil },
			words: []string{"cannot be opened yet", "within=30s", "error=", "process"}, check: []string{"is in use by process", "end that process"},
		},
		{
			name: "spool foreign", page: "the spool belongs to another user", args: []string{"--spool-dir=" + foreign}, root: true,
			begin: func() error { return os.Chown(foreign, 4711, 4711) }, mend: func() error { return os.Chown(foreign, os.Getuid(), os.Getgid()) },
			words: []string{"--spool-dir=" + foreign, "4711", "change the owner"}, check: []string{"belongs to user", "choose another --spool-dir"},
		},
		{
			name: "spool newer version", page: "the spool has a newer format", args: []string{"--spool-dir=" + newer},
			begin: func() error { return os.WriteFile(segments[0], spooltest.SetVersion(slices.Clone(old), 2), 0o600) },
			mend:  func() error { return os.WriteFile(segments[0], old, 0o600) },
			words: []string{"--spool-dir=" + newer, "version 2"}, check: []string{"have another format", "start the version of ingest that wrote them"},
		},
		{
			name: "spool in other use", page: "`--spool-dir` has other files in it", args: []string{"--spool-dir=" + used}, mend: func() error { return os.Remove(filepath.Join(used, "app.conf")) },
			words: []string{"--spool-dir=" + used, "in other use", "app.conf", "a directory of its own"}, check: []string{"in other use", "a directory of its own in --spool-dir"},
		},
		{
			name: "spool is a file", page: "`--spool-dir` is a file", args: []string{"--spool-dir=" + file}, mend: func() error { return os.Remove(file) },
			words: []string{"--spool-dir=" + file, "it must be a directory"}, check: []string{"is a file", "set --spool-dir to a directory"},
		},
		{
			name: "spool where nothing can be made", page: "`--spool-dir` is where no file can be made", args: []string{"--spool-dir=/proc/ingest/spool"},
			words: []string{"--spool-dir=/proc/ingest/spool cannot be used", "choose another --spool-dir"}, check: []string{"cannot be made in", "choose another --spool-dir"},
		},
		{
			name: "descriptors short", page: "few file descriptors", args: []string{"--max-conns=1000"}, limit: 200, mend: func() error { return nil }, goesOn: true,
			words: []string{"ulimit -n", "--max-conns", "lower"}, check: []string{"--max-conns", "is lowered to", "ulimit -n"},
		},
		{
			name: "hardly any descriptors", page: "hardly any file descriptors", limit: 64, mend: func() error { return nil }, goesOn: true,
			words: []string{"ulimit -n", "--max-conns", "lower"}, check: []string{"are allowed, and", "raise the limit (ulimit -n, LimitNOFILE=)"},
		},
	} {
		t.Run(o.name, o.try)
	}
}

func (o *obstacle) try(t *testing.T) {
	if o.root && os.Getuid() != 0 {
		skiptest.Missing(t, "only root can give files away")
	}
	if o.begin != nil {
		must(t, o.begin())
	}
	serve := serveNowhere(t, append([]string{"--ack=accept"}, o.args...)...)
	if admin, ok := strings.CutPrefix(strings.Join(o.args, " "), "--admin="); ok {
		serve.Admin = admin // where the process is asked
	}
	p := proc.StartUnready(t, limited(o.limit, serve))
	if o.goesOn {
		awaitSeen(t, "the line", func() bool { return lines(p, append(o.words, "level=WARN")...) == 1 })
	} else {
		code, err := p.Wait(t.Context())
		if must(t, err); code != 1 {
			t.Errorf("exit code %d", code)
		}
		if lines(p, append(o.words, "level=ERROR", "cannot start")...) != 1 || lines(p, "level=ERROR") != 1 {
			t.Errorf("not one line with %q", o.words)
		}
	}
	o.checked(t)
	if o.mend != nil {
		must(t, o.mend())
	}
	if o.goesOn {
		awaitServed(t, p)
		p.MustStop(t)
	}
	if o.mend != nil {
		again := served(t, serve)
		if lines(again, o.words...) > 0 {
			t.Error("the line is there although it was mended")
		}
		again.MustStop(t)
	}
}

// checked has ingest check look at the same settings, and the page say what it says.
func (o *obstacle) checked(t *testing.T) {
	t.Helper()
	run := limited(o.limit, proc.Options{Bin: proc.Build(t), Args: append([]string{"check", "--brokers=127.0.0.1:1", "--topic=t", "--ack=accept"}, o.args...)})
	for _, setting := range []string{"--listen", "--admin"} {
		if !slices.ContainsFunc(o.args, func(a string) bool { return strings.HasPrefix(a, setting) }) {
			run.Args = append(run.Args, setting+"=127.0.0.1:0")
		}
	}
	said, err := exec.Command(run.Bin, run.Args...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) { // at the least nobody is at the broker's address
		t.Errorf("check: %v", err)
	}
	if !hasLine(string(said), o.check) {
		t.Errorf("no line of check has %q:\n%s", o.check, said)
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "troubleshooting.md"))
	must(t, err)
	if !hasLine(string(page), append([]string{"| " + o.page}, o.check...)) {
		t.Errorf("docs/troubleshooting.md has no row that begins with %q and says %q of check", o.page, o.check)
	}
}

func hasLine(text string, words []string) bool {
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			return true
		}
	}
	return false
}

// limited runs a program with at most so many descriptors; 0: as many as this process.
func limited(descriptors int, o proc.Options) proc.Options {
	if descriptors > 0 {
		script := []string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, descriptors), o.Bin}
		o.Bin, o.Args = "/bin/sh", append(script, o.Args...)
	}
	return o
}

// held is a port of this machine that is taken.
func held(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// served starts a process that has no Kafka, and waits until it answers.
func served(t *testing.T, o proc.Options) *proc.Process {
	t.Helper()
	p := proc.StartUnready(t, o)
	awaitServed(t, p)
	return p
}

func awaitServed(t *testing.T, p *proc.Process) {
	t.Helper()
	awaitSeen(t, "an address that answers", func() bool { c, _, err := p.Get("/healthz"); return err == nil && c == 200 })
}

// filled leaves a spool with an event in it.
func filled(t *testing.T, dir string) {
	t.Helper()
	p := served(t, serveNowhere(t, "--ack=accept", "--spool-dir="+dir))
	if status, answer := post(t, p, "application/json", []byte(goodEvent)); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	if code, l := p.MustStop(t); code != 0 || l.Spooled != 6 {
		t.Fatalf("exit code %d, %+v", code, l)
	}
}
