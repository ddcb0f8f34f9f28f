//go:build !unix

package main

import (
	"log/slog"

	"functiongraph-ingest/internal/logging"
)

// followVerbose: there is no such signal.
func followVerbose(*logging.Level, *slog.Logger) (end func()) { return func() {} }
