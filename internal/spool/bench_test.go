package spool_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// benchDir is SPOOL_BENCH_DIR, to choose the file system, or a temporary one.
func benchDir(b *testing.B) string {
	if dir := os.Getenv("SPOOL_BENCH_DIR"); dir != "" {
		sub, err := os.MkdirTemp(dir, "spool")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(sub) })
		return sub
	}
	return b.TempDir()
}

func cpuNanos() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkAppend: frames written and done at once, as with ack=disk and a healthy Kafka; a sync after
// every sync frames, 0 for none.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{4 << 10, 128 << 10} {
		for _, sync := range []int{0, 16, 1} {
			b.Run(fmt.Sprintf("bytes=%d/sync=%d", size, sync), func(b *testing.B) {
				s, err := spool.Open(spool.Config{Dir: benchDir(b)}, spool.Deps{})
				if err != nil {
					b.Fatal(err)
				}
				q := spooltest.Queue(s, "topic", 0)
				var parts [][]byte
				for left := size; left > 0; left -= 16 << 10 {
					parts = append(parts, make([]byte, min(left, 16<<10)))
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				cpu, n := cpuNanos(), 0
				for b.Loop() {
					pos, err := q.Append(spool.Meta{Events: 1}, parts...)
					if n++; err == nil && sync > 0 && n%sync == 0 {
						err = s.Sync(pos, pos)
					}
					if err == nil {
						err = q.Done(pos)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuNanos()-cpu)/float64(n)/1000, "cpu-us/frame")
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkPeek: a frame of 128 KiB read back and checked.
func BenchmarkPeek(b *testing.B) {
	s, err := spool.Open(spool.Config{Dir: benchDir(b)}, spool.Deps{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	q := spooltest.Queue(s, "topic", 0)
	const size = 128 << 10
	if _, err := q.Append(spool.Meta{}, make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		f, _, err := q.Peek(buf[:0])
		if err != nil || len(f.Batch) != size {
			b.Fatal(err)
		}
		buf = f.Batch
	}
}

// BenchmarkOpen: recovery of 64 MiB in frames of 128 KiB and of 1 KiB.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{128 << 10, 1 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			cfg := spool.Config{Dir: benchDir(b)}
			s, err := spool.Open(cfg, spool.Deps{})
			if err != nil {
				b.Fatal(err)
			}
			const total = 64 << 20
			for range total / size {
				if _, err := spooltest.Queue(s, "topic", 0).Append(spool.Meta{}, make([]byte, size)); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				s, err := spool.Open(cfg, spool.Deps{})
				if err != nil || s.Stats().Frames != total/size {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
