package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"

	"functiongraph-ingest/internal/spool"
)

// How long serve waits for a spool that may become usable by itself, before it ends.
const (
	openPause    = 250 * time.Millisecond
	busyPatience = 30 * time.Second // another process has it, which may be about to end
	readPatience = 10 * time.Second // the disk cannot read it
)

// opening is the wait for a spool at the start of serve.
type opening struct {
	dir   string
	open  func() error
	sleep func(context.Context, time.Duration) error
	log   *slog.Logger
}

// run opens the spool before anything is accepted. An error says why it cannot be opened and what to do; it is ctx's
// when the process is told to end meanwhile.
func (o *opening) run(ctx context.Context) error {
	var last, waited, total time.Duration
	for {
		err := o.open()
		var patience time.Duration
		switch {
		case err == nil:
			return nil
		case errors.Is(err, spool.ErrBusy):
			patience = busyPatience
		case mayPass(err):
			patience = readPatience
		}
		if patience != last {
			last, waited = patience, 0
		}
		if waited >= patience || total >= busyPatience+readPatience {
			return explain(o.dir, err)
		}
		if waited == 0 {
			o.log.Warn("the spool cannot be opened yet; nothing is accepted until it can", "spool-dir", o.dir, "within", patience, "error", err)
		}
		if err := o.sleep(ctx, openPause); err != nil {
			return err
		}
		waited += openPause
		total += openPause
	}
}

// mayPass reports whether an error of opening a spool may pass by itself: the disk's, and those for want of
// memory or descriptors. What an operator has to change does not.
func mayPass(err error) bool {
	var version *spool.VersionError
	if errors.As(err, &version) || errors.Is(err, spool.ErrForeign) || errors.Is(err, spool.ErrOccupied) {
		return false
	}
	for _, final := range []error{
		fs.ErrPermission, fs.ErrNotExist, fs.ErrExist, syscall.EROFS, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL,
	} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

const occupiedRemedy = "give the spool a directory of its own in --spool-dir, for example a new one below this"

// explain adds the setting and the remedy to an error of opening a spool.
func explain(dir string, err error) error {
	what := "choose another --spool-dir, or mend the disk"
	switch {
	case errors.Is(err, spool.ErrBusy):
		what = "stop the process that uses it, or choose another --spool-dir"
	case errors.Is(err, spool.ErrForeign):
		what = "change the owner, or choose another --spool-dir"
	case errors.Is(err, spool.ErrOccupied):
		what = occupiedRemedy
	case errors.Is(err, syscall.EROFS):
		what = "mount it read-write, or choose another --spool-dir"
	case errors.Is(err, fs.ErrPermission):
		what = fmt.Sprintf("let uid %d write to it, or choose another --spool-dir", os.Geteuid())
	case errors.Is(err, fs.ErrNotExist):
		what = "nothing can be made there: choose another --spool-dir"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		what = "it must be a directory: choose another --spool-dir"
	}
	return fmt.Errorf("--spool-dir=%s cannot be used: %w (%s)", dir, err, what)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
