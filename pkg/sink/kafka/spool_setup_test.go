package kafka_test

import (
	"log/slog"
	"strings"
	"testing"

	"functiongraph-ingest/internal/lanespool"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink/kafka"
)

func init() {
	kafka.OpenTestSpool = func(t *testing.T, dir string, maxBytes int64) func() (kafka.Spool, error) {
		return func() (kafka.Spool, error) {
			s, err := lanespool.Open(spool.Config{Dir: dir, MaxBytes: maxBytes}, spool.Deps{Logger: slog.New(slog.NewTextHandler(testLog{t}, nil))})
			if err != nil {
				return nil, err
			}
			return s, nil
		}
	}
}

func init() {
	kafka.NewTestDisk = func(t *testing.T) kafka.TestDisk { return &disk{t, spooltest.New(1 << 40)} }
}

type disk struct {
	t  *testing.T
	fs *spooltest.FS
}

func (d *disk) Open() (kafka.Spool, error) {
	s, err := lanespool.Open(spool.Config{Dir: "d", MaxBytes: 64 << 20, SegmentBytes: 64 << 10},
		spool.Deps{FS: d.fs, Boot: "b", Logger: slog.New(slog.NewTextHandler(testLog{d.t}, nil))})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (d *disk) Kill() kafka.TestDisk { return &disk{d.t, d.fs.Kill()} }

func (d *disk) Limit(bytes int64) { d.fs.SetBudget(bytes) }

func (d *disk) Flip(n uint64) bool {
	var names []string
	total := uint64(0)
	for _, name := range d.fs.Names() {
		if strings.HasSuffix(name, ".seg") {
			names = append(names, name)
			total += uint64(len(d.fs.Bytes(name)))
		}
	}
	if total == 0 {
		return false
	}
	n %= total
	for _, name := range names {
		if size := uint64(len(d.fs.Bytes(name))); n < size {
			d.fs.Flip(name, int64(n))
			return true
		} else {
			n -= size
		}
	}
	return false
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
