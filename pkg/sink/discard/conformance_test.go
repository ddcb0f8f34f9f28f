package discard

import (
	"errors"
	"testing"

	"functiongraph-ingest/pkg/sink/sinktest"
)

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(*testing.T, bool) sinktest.Subject {
		return sinktest.Subject{Sink: New("bad_config", errors.New("why")), Drops: "bad_config"}
	})
}
