package main

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// The largest record of a body, its key as large as its value, fits into the least spool that Validate
// accepts.
func TestTheLargestEventFitsTheLeastSpool(t *testing.T) {
	for _, maxBody := range []config.Bytes{1, 100 * config.KiB, 4 * config.MiB, 7*config.MiB - 1, 16 * config.MiB} {
		half := make([]byte, maxBody)
		rb := recordbatch.NewPrivateBatch(recordbatch.RecordSize(half, half, nil))
		if !rb.TryAppend(1, half, half, nil) {
			t.Fatal("no room in a batch made for it")
		}
		wire := make([]byte, rb.Size())
		rb.Release()
		least := config.LeastSpool(maxBody)
		if err := appendTo(t, least, wire); err != nil {
			t.Errorf("max-body %s, spool-max %s: %v", maxBody, least, err)
		}
		if err := appendTo(t, least, bytes.Repeat(wire[:1], int(least))); !errors.Is(err, spool.ErrTooLarge) {
			t.Errorf("max-body %s: a frame of all of spool-max: %v", maxBody, err)
		}
	}
}

// appendTo writes one frame into a new spool of most bytes.
func appendTo(t *testing.T, most config.Bytes, wire []byte) error {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: t.TempDir(), MaxBytes: int64(most), KeepFree: 1}, spool.Deps{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = spooltest.Queue(s, string(bytes.Repeat([]byte{'t'}, 249)), 0).Append(spool.Meta{Events: 1, Records: 1}, wire)
	return err
}
