package spool_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"functiongraph-ingest/internal/skiptest"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestSpecialEntries: whatever stands in the directory under the names of the spool, a start neither fails nor
// hangs, keeps the good frame, and says what it found; so does an inspection.
func TestSpecialEntries(t *testing.T) {
	const segment = "00000001-00000000000000aa.seg" // the number of the good one too
	sparse := func(t *testing.T, name string) {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(1 << 42); err != nil {
			skiptest.Missing(t, "a sparse file: %v", err)
		}
	}
	for name, c := range map[string]struct {
		entry string
		make  func(t *testing.T, path string)
		said  string // in the log; "": nothing need be
	}{
		"a segment is a directory":    {segment, func(t *testing.T, p string) { must(t, os.Mkdir(p, 0o700)) }, "a directory"},
		"a segment is a fifo":         {segment, func(t *testing.T, p string) { must(t, syscall.Mkfifo(p, 0o600)) }, "a fifo"},
		"a segment is a link":         {segment, func(t *testing.T, p string) { must(t, os.Symlink("/dev/zero", p)) }, "a symbolic link"},
		"a segment is a dangling one": {segment, func(t *testing.T, p string) { must(t, os.Symlink("nowhere", p)) }, "a symbolic link"},
		"upper case":                  {"0000000A-00000000000000AA.seg", func(t *testing.T, p string) { must(t, os.WriteFile(p, nil, 0o600)) }, "no segment"},
		"no number":                   {"x.seg", func(t *testing.T, p string) { must(t, os.WriteFile(p, nil, 0o600)) }, "no segment"},
		"number 0":                    {"00000000-00000000000000aa.seg", func(t *testing.T, p string) { must(t, os.WriteFile(p, nil, 0o600)) }, "no segment"},
		"a huge empty segment":        {segment, sparse, "not written whole"},
		"the cursors are a directory": {"cursors", func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Mkdir(p, 0o700)) }, "no plain file"},
		"the cursors are a fifo":      {"cursors", func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, syscall.Mkfifo(p, 0o600)) }, "no plain file"},
		"the cursors are a link":      {"cursors", func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Symlink("/dev/zero", p)) }, "no plain file"},
		"the cursors are huge":        {"cursors", func(t *testing.T, p string) { must(t, os.Truncate(p, 1<<42)) }, ""},
		"quarantine is a file":        {"quarantine", func(t *testing.T, p string) { must(t, os.WriteFile(p, []byte("x"), 0o600)) }, "moved away"},
		"quarantine is a link":        {"quarantine", func(t *testing.T, p string) { must(t, os.Symlink("/tmp", p)) }, "moved away"},
		"setaside is a fifo":          {"setaside", func(t *testing.T, p string) { must(t, syscall.Mkfifo(p, 0o600)) }, "moved away"},
		"a folder in quarantine":      {"quarantine/x", func(t *testing.T, p string) { must(t, os.MkdirAll(p, 0o700)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := spool.Config{Dir: t.TempDir(), SegmentBytes: 1 << 16, MaxBytes: 1 << 20}
			s, err := spool.Open(cfg, spool.Deps{})
			must(t, err)
			if _, err := spooltest.Queue(s, "t", 0).Append(spool.Meta{Events: 1}, []byte("good")); err != nil {
				t.Fatal(err)
			}
			must(t, s.Close())
			c.make(t, filepath.Join(cfg.Dir, c.entry))
			if _, err := spool.Inspect(spool.Inspection{Dir: cfg.Dir, Pause: func() {}}, func(*spool.Piece) error { return nil }); err != nil {
				t.Errorf("inspection: %v", err)
			}
			var log strings.Builder
			s, err = spool.Open(cfg, spool.Deps{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			must(t, err)
			defer s.Close()
			if c.said != "" && !strings.Contains(log.String(), c.said) {
				t.Errorf("%q is not in the log: %s", c.said, log.String())
			}
			f, pos, err := spooltest.Queue(s, "t", 0).Peek(nil)
			if err != nil || string(f.Batch) != "good" {
				t.Fatalf("%q, %v", f.Batch, err)
			}
			must(t, spooltest.Queue(s, "t", 0).Done(pos))
			if _, err := spooltest.Queue(s, "t", 1).Append(spool.Meta{Events: 1}, []byte("next")); err != nil {
				t.Errorf("cannot be written: %v", err)
			}
			if strings.Contains(c.entry, "aside") {
				must(t, s.SetAside([]byte("x"), [32]byte{1}))
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
