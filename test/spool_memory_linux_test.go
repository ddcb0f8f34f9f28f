package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/proc"
)

// A spool on tmpfs: --ack=disk is refused there unless it is asked for, one line says what it is, and process and spool
// together stay within the limit and 8 MiB, however long Kafka is away.
func TestSpoolInMemory(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "ingest-test-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	serve := func(more ...string) *proc.Process {
		return proc.StartUnready(t, proc.Serve(proc.Build(t), "127.0.0.1:1", "none", append(more, "--spool-dir", filepath.Join(dir, "spool"), "--codec=none", "--ack-timeout=1s")...))
	}
	p := serve("--ack=disk")
	if code, err := p.Wait(t.Context()); code != 2 || err != nil || lines(p, "is in memory (tmpfs)", "--spool-in-memory", "--ack=disk") != 1 {
		t.Errorf("exit %d, %v: %s", code, err, p.Stderr())
	}
	for _, more := range [][]string{{"--ack=accept"}, {"--ack=disk", "--spool-in-memory"}} {
		t.Run(strings.Join(more, " "), func(t *testing.T) {
			p := serve(more...)
			awaitSeen(t, "a place to post to", func() bool { c, _, err := p.Get("/healthz"); return err == nil && c == 200 })
			run, err := load.Start(t.Context(), load.Options{Addr: p.Listen, Conns: 8, RetryAfter: true, Profile: load.Profile{Events: 500}})
			must(t, err)
			awaitSeen(t, "a full spool", func() bool {
				m, err := p.Metrics()
				return err == nil && m[`ingest_spool_state{state="full"}`] > 0
			})
			run.Stop()
			rss, err := p.PeakRSS()
			must(t, err)
			spool := sizeOf(t, dir)
			t.Logf("peak RSS %.1f MiB, spool %.1f MiB", float64(rss)/(1<<20), float64(spool)/(1<<20))
			if rss+spool > (64+8)<<20 || spool < 8<<20 {
				t.Errorf("RSS %d and spool %d bytes, the limit is 64 MiB and 8 MiB", rss, spool)
			}
			if lines(p, "is in memory (tmpfs)", "count against --memory-limit=64MiB") != 1 {
				t.Errorf("the log: %s", p.Stderr())
			}
			if n := lines(p, "an earlier process"); n != 0 {
				t.Errorf("%d lines about an earlier process; there was none", n)
			}
			must(t, p.Kill())
			must(t, os.RemoveAll(filepath.Join(dir, "spool")))
		})
	}
}

// sizeOf is what the files below a directory hold.
func sizeOf(t *testing.T, dir string) (n int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	}))
	return n
}
