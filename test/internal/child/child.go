// Package child runs another program as a process that never outlives this one: the kernel kills it
// when this process dies, and every signal goes to exactly the process that was started, by its id.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Child is one started process. All methods are safe for concurrent use.
type Child struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed after the process was reaped; cmd.ProcessState is final then
}

// Start starts cmd, which must not have been started. The caller gives up cmd.
//
// The kernel's parent-death signal is tied to the thread that forked, not to the process, so the
// child is started and awaited on a thread that stays locked until the child has ended.
func Start(cmd *exec.Cmd) (*Child, error) {
	dieWithParent(cmd)
	c := &Child{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // the result is read from ProcessState
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return c, nil
}

// PID is the process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Exited is closed when the process has ended and was reaped.
func (c *Child) Exited() <-chan struct{} { return c.exited }

// Running reports whether the process has not ended yet.
func (c *Child) Running() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// Signal sends sig. A process that has already ended is not an error.
func (c *Child) Signal(sig syscall.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s to process %d: %w", sig, c.PID(), err)
	}
	return nil
}

// Kill sends SIGKILL and waits until the process is gone. It works on a frozen process too.
func (c *Child) Kill() error {
	if err := c.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-c.exited
	return nil
}

// Wait waits for the end of the process or of ctx and returns the exit code: 128 + the signal's
// number when a signal ended it, as a shell does.
func (c *Child) Wait(ctx context.Context) (int, error) {
	select {
	case <-c.exited:
	case <-ctx.Done():
		return 0, fmt.Errorf("process %d still runs: %w", c.PID(), context.Cause(ctx))
	}
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return c.cmd.ProcessState.ExitCode(), nil
}
