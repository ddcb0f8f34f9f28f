package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/skiptest"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestSpoolAtTheStart: how long serve waits for a spool, by what is wrong with it, and what it says.
func TestSpoolAtTheStart(t *testing.T) {
	busy := fmt.Errorf("%w: held by process 77", spool.ErrBusy)
	eio := &fs.PathError{Op: "read", Path: "x.seg", Err: syscall.EIO}
	for name, c := range map[string]struct {
		errs   []error // one after the other; the last one stays
		waited time.Duration
		said   []string // in the error; nil: it is opened
	}{
		"good":                 {[]error{nil}, 0, nil},
		"busy for a while":     {[]error{busy, busy, nil}, 2 * openPause, nil},
		"busy":                 {[]error{busy}, busyPatience, []string{"process 77", "stop the process", "--spool-dir=D"}},
		"read error, passes":   {[]error{eio, nil}, openPause, nil},
		"read error":           {[]error{eio}, readPatience, []string{"x.seg", "mend the disk"}},
		"busy, then eio":       {[]error{busy, busy, eio}, 2*openPause + readPatience, []string{"x.seg"}},
		"no memory, passes":    {[]error{syscall.ENOMEM, syscall.EMFILE, nil}, 2 * openPause, nil},
		"permission":           {[]error{fs.ErrPermission}, 0, []string{"let uid", "--spool-dir"}},
		"read-only":            {[]error{syscall.EROFS}, 0, []string{"read-write"}},
		"a file":               {[]error{syscall.ENOTDIR}, 0, []string{"must be a directory"}},
		"foreign":              {[]error{fmt.Errorf("%w: uid 5", spool.ErrForeign)}, 0, []string{"uid 5", "change the owner"}},
		"in other use":         {[]error{fmt.Errorf("%w: x", spool.ErrOccupied)}, 0, []string{"in other use", "a directory of its own in --spool-dir"}},
		"another version":      {[]error{&spool.VersionError{File: "f.seg", Version: 2, Segments: 1}}, 0, []string{"f.seg", "format version 2"}},
		"foreign after a wait": {[]error{busy, fmt.Errorf("%w: uid 5", spool.ErrForeign)}, openPause, []string{"uid 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			waited, calls := time.Duration(0), 0
			o := opening{
				dir: "D", log: slog.New(slog.NewTextHandler(&log, nil)),
				sleep: func(_ context.Context, d time.Duration) error { waited += d; return nil },
				open: func() error {
					calls++
					return c.errs[min(calls, len(c.errs))-1]
				},
			}
			err := o.run(t.Context())
			if waited != c.waited || (err == nil) != (c.said == nil) {
				t.Fatalf("waited %v, %v", waited, err)
			}
			for _, text := range c.said {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is not in %q", text, err)
				}
			}
			if waited > 0 && !strings.Contains(log.String(), "WARN") {
				t.Error("it waited in silence")
			}
		})
	}
}

// TestStopWhileTheSpoolIsBusy: a signal ends the wait.
func TestStopWhileTheSpoolIsBusy(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := opening{log: slog.New(slog.DiscardHandler), sleep: sleep, open: func() error { cancel(); return spool.ErrBusy }}
	if err := o.run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestServeWithASpoolThatCannotBeUsed: exit code 1 before anything listens, one line that names the setting, and
// nothing is touched.
func TestServeWithASpoolThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	s, err := spool.Open(spool.Config{Dir: newer}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spooltest.Queue(s, "t", 0).Append(spool.Meta{Events: 1}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(newer, "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	bytes, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	spooltest.SetVersion(bytes, 2)
	if err := os.WriteFile(segments[0], bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{file: "it must be a directory", filepath.Join(file, "below"): "it must be a directory", newer: "format version 2"} {
		code, stdout, stderr := call(t, "serve", "--brokers=127.0.0.1:1", "--topic=t", "--listen=127.0.0.1:0", "--admin=off", "--spool-dir="+dir)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, want) || !strings.Contains(stderr, "--spool-dir="+dir) {
			t.Errorf("%s: exit %d, %q, %q", dir, code, stdout, stderr)
		}
	}
	if after, _ := os.ReadFile(segments[0]); string(after) != string(bytes) {
		t.Error("the segment was changed")
	}
	if code, _, _ := call(t, "spool", "verify", newer); code != exitDamaged {
		t.Errorf("verify: exit %d", code)
	}
}

// TestExtensionsDefaultDirectoryIsForeign: an extension takes another directory, and only instead of the default.
func TestExtensionsDefaultDirectoryIsForeign(t *testing.T) {
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "only root can give files away")
	}
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for _, mayMove := range []bool{false, true} {
		d := &disk{log: slog.New(slog.DiscardHandler), room: int64(config.MiB), mayMove: mayMove, cfg: spool.Config{Dir: dir}}
		_, err := d.open()
		if (err == nil) != mayMove {
			t.Errorf("may move %v: %v", mayMove, err)
		}
		d.close()
		if list, _ := os.ReadDir(dir); len(list) != 0 {
			t.Errorf("something was made in it: %v", list)
		}
	}
}
