package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"functiongraph-ingest/test/proc"
)

// terminal is a pseudo terminal of 80 by 24: what is written on the one side is typed on the other.
type terminal struct {
	*os.File
	name string
	mu   sync.Mutex
	seen bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCSPTLCK, 0))
	must(t, unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 80, Row: 24}))
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPTN)
	must(t, err)
	return &terminal{File: f, name: fmt.Sprintf("/dev/pts/%d", n)}
}

func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.seen.String()
}

// ingest top in a terminal, at a process that takes events: it shows them, is as large as the terminal, ends on q and on
// Ctrl-C, and leaves the terminal as it was.
func TestTop(t *testing.T) {
	bin := proc.Build(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	must(t, os.WriteFile(tokens, []byte("# a comment\n\nsesame\n"), 0o600))
	p := proc.StartUnready(t, proc.Options{Bin: bin, Args: []string{"serve", "--listen={listen}", "--admin={admin}", "--sink=ndjson", "--output=/dev/null", "--admin-token-file=" + tokens}})
	awaitSeen(t, "an answer", func() bool { _, _, err := p.Get("/healthz"); return err == nil })
	if code, body := post(t, p, "application/json", []byte(`[{"a":1},{"b":2},x]`)); code != 200 {
		t.Fatalf("%d %s", code, body)
	}

	out, err := exec.Command(bin, "top", "--once", "--admin="+p.Admin, "--token-file="+tokens).CombinedOutput()
	if text := string(out); err != nil || !strings.Contains(text, "3 = 3 ✔ every event is accounted for") || strings.Contains(text, "\x1b") {
		t.Errorf("%v: %s", err, text)
	}
	out, err = exec.Command(bin, "top", "--once", "--admin="+p.Admin).CombinedOutput()
	if text := string(out); err == nil || !strings.Contains(text, "--token-file") || strings.Count(text, "\n") != 1 {
		t.Errorf("without a token: %v: %s", err, text)
	}

	for _, key := range []string{"q", "\x03"} {
		term := newTerminal(t)
		tty, err := os.OpenFile(term.name, os.O_RDWR|syscall.O_NOCTTY, 0)
		must(t, err)
		before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		must(t, err)
		cmd := exec.Command(bin, "top", "--admin="+p.Admin, "--token-file="+tokens)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.Env = append(os.Environ(), "NO_COLOR=1", "TERM=xterm")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
		must(t, cmd.Start())
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := term.Read(buf)
				term.mu.Lock()
				term.seen.Write(buf[:n])
				term.mu.Unlock()
				if err != nil {
					return
				}
			}
		}()
		awaitSeen(t, "two frames", func() bool { return strings.Count(term.text(), "3 = 3 ✔") >= 2 })
		frame := strings.Split(term.text(), "\x1b[H")[1]
		if n := strings.Count(frame, "\r\n"); n != 23 {
			t.Errorf("%d line ends in a terminal of 24 lines:\n%s", n, frame)
		}
		_, err = term.Write([]byte(key))
		must(t, err)
		killed := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil || !killed.Stop() {
			t.Errorf("%q: %v", key, err)
		}
		after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		must(t, err)
		if *before != *after {
			t.Errorf("%q: the terminal is not as it was", key)
		}
		awaitSeen(t, "the old screen", func() bool { return strings.HasSuffix(term.text(), "\x1b[?1049l") })
		if strings.Contains(term.text(), "\x1b[3") {
			t.Error("colors in spite of NO_COLOR")
		}
		tty.Close()
	}
}

// The HEALTHCHECK of the Containerfile says that the process is well while it runs, and not when it has ended.
func TestContainerHealthcheck(t *testing.T) {
	text, err := os.ReadFile("../deploy/container/Containerfile")
	must(t, err)
	_, after, ok := strings.Cut(string(text), "\nHEALTHCHECK ")
	_, command, ok2 := strings.Cut(after, " CMD ")
	command, _, _ = strings.Cut(command, "\n")
	var args []string
	if !ok || !ok2 || json.Unmarshal([]byte(command), &args) != nil || len(args) < 2 || args[0] != "/ingest" {
		t.Fatalf("no HEALTHCHECK without a shell: %q", command)
	}
	bin := proc.Build(t)
	p := proc.Start(t, proc.Options{Bin: bin, Args: []string{"serve", "--listen={listen}", "--admin={admin}", "--sink=ndjson", "--output=/dev/null"}})
	check := func() ([]byte, error) {
		cmd := exec.Command(bin, args[1:]...)
		cmd.Env = append(os.Environ(), "INGEST_ADMIN="+p.Admin)
		return cmd.CombinedOutput()
	}
	if out, err := check(); err != nil {
		t.Errorf("it runs: %v: %s", err, out)
	}
	p.MustStop(t)
	if out, err := check(); err == nil {
		t.Errorf("it has ended: %s", out)
	}
}
