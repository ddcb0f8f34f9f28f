package main

import (
	"io"
	"log/slog"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/internal/reload"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
)

// sinkView shows what only some sinks have. A nil field is one that the sink lacks.
type sinkView struct {
	register    func(*metrics.Metrics)
	dropReasons []string           // what it may drop events for
	files       *reload.Files      // what may change while it runs; nil: nothing
	inside      func() sink.Inside // partitions and the last dead letters; nil: nothing of these
	origin      *origin            // what its records say about where they come from
	gone        <-chan struct{}    // closed when its destination has ended for good; nil: it never does
}

// shownPartitions is the maximum number of partitions in /status; a topic may have thousands.
const shownPartitions = 32

// newSink makes the sink that --sink names; d is its spool, or nil. It does not look at Kafka before hold is closed;
// nil: at once.
func newSink(cfg *config.Config, budget config.Budget, log *slog.Logger, stdout io.Writer, hold <-chan struct{}, d *disk) (sink.Sink, *sinkView, error) {
	if cfg.Sink == config.SinkNDJSON {
		s, err := newNDJSON(cfg.Output, stdout, log)
		if err != nil {
			return nil, nil, err
		}
		return s, &sinkView{register: func(*metrics.Metrics) {}, origin: newOrigin(cfg.Instance, nil), gone: s.Gone()}, nil
	}
	k, err := newDestination(cfg, budget, log)
	if err != nil {
		return nil, nil, err
	}
	from := newOrigin(cfg.Instance, cfg.TagList())
	seen := newObserved()
	s, err := k.sink(log, hold, d, from, seen)
	if err != nil {
		return nil, nil, err
	}
	v := &sinkView{files: k.login.files, origin: from, dropReasons: kafka.DropReasons()}
	v.inside = func() sink.Inside { return s.Inside(shownPartitions) }
	v.register = func(m *metrics.Metrics) { registerKafka(m, s, seen) }
	if d != nil {
		v.register = func(m *metrics.Metrics) { registerKafka(m, s, seen); registerDisk(m, d, s, seen) }
	}
	return s, v, nil
}
