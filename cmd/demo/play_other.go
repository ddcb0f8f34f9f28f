//go:build !linux

package main

import (
	"context"

	"functiongraph-ingest/internal/fgsim"
)

func play(context.Context, options, string, []string, *traffic) (*fgsim.Report, error) {
	return nil, errNotLinux
}
