package kafka_test

import (
	"log/slog"
	"strings"
	"testing"

	"functiongraph-ingest/internal/lanespool"
	"functiongraph-ingest/internal/spool"
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

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
