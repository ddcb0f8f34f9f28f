package fgsim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	groupPoll   = 100 * time.Millisecond // between looks at a group whose leader has ended
	maxLines    = 10_000                 // printed lines that wait to be sent back, at most
	maxLineSize = 64 << 10
	tailLines   = 20 // that the report shows
)

// process is a process group: the start script and all that it starts.
type process struct {
	cmd     *exec.Cmd
	begun   time.Time
	leader  chan struct{} // closed when the first process was reaped
	gone    chan struct{} // closed when none of the group is left
	printed lines
	readers sync.WaitGroup
}

// launch starts a command as a group of its own, in the given limits, on one core unless core is below 0.
// The kernel kills the first process if this one dies.
func launch(cmd *exec.Cmd, l *limits, core int, echo io.Writer) (*process, error) {
	l.wrap(cmd)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, leader: make(chan struct{}), gone: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the signal at the parent's death and the core are the thread's; it ends with this function
		if core >= 0 {
			if err := pin(0, one(core)); err != nil {
				started <- err
				return
			}
		}
		p.begun = time.Now()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the result is read from ProcessState
			close(p.leader)
			p.awaitGroup()
		}
	}()
	err = <-started
	_ = w.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", cmd.Path, err), r.Close())
	}
	p.readers.Go(func() {
		p.printed.read(r, echo)
		_ = r.Close()
	})
	return p, nil
}

// awaitGroup waits for what the start script left in the background. There is no signal when a process that is
// no child of one's own ends, so it is looked for.
func (p *process) awaitGroup() {
	tick := time.NewTicker(groupPoll)
	defer tick.Stop()
	for len(p.members()) > 0 {
		<-tick.C
	}
	close(p.gone)
}

func (p *process) group() int { return p.cmd.Process.Pid }

// signal sends a signal to the whole group.
func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return nil // the number may be another group's by now
	}
	if err := syscall.Kill(-p.group(), sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to group %d: %w", sig, p.group(), err)
	}
	return nil
}

// running reports whether any process of the group is left.
func (p *process) running() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// kill ends the group and waits until it is gone and all it printed is read.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL) // the wait tells
	<-p.gone
	p.readers.Wait()
}

// exit is how the first process ended.
func (p *process) exit() string {
	select {
	case <-p.leader:
		return p.cmd.ProcessState.String()
	default:
		return "it runs"
	}
}

// exitCode is that of the first process, 128 + number after a signal.
func (p *process) exitCode() int {
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// lines is what a process printed.
type lines struct {
	mu      sync.Mutex
	waiting []string // to be sent back, at most maxLines
	tail    []string
	total   int64
	dropped int64 // that found no room
}

func (l *lines) read(r io.Reader, echo io.Writer) {
	b := bufio.NewReaderSize(r, maxLineSize)
	for {
		line, err := b.ReadSlice('\n') // longer lines come in parts
		if len(line) > 0 {
			_, _ = echo.Write(line)
			l.add(trimEOL(string(line)))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func trimEOL(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if l.tail = append(l.tail, line); len(l.tail) > tailLines {
		l.tail = l.tail[1:]
	}
	if len(l.waiting) >= maxLines {
		l.dropped++
		return
	}
	l.waiting = append(l.waiting, line)
}

// take returns up to n of the lines that wait.
func (l *lines) take(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.waiting))
	taken := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return taken
}

// said returns the last lines and the number of all.
func (l *lines) said() (tail []string, total, dropped int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.tail...), l.total, l.dropped
}
