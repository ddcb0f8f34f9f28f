package main

import (
	"io"
	"log/slog"
	"slices"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/internal/reload"
	"functiongraph-ingest/internal/stop"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// view is what there is to see of a sink beyond what all have. nil: nothing.
type view struct {
	register    func(*metrics.Metrics)
	dropReasons []string           // what it may drop events for
	files       *reload.Files      // what may change while it runs; nil: nothing
	inside      func() sink.Inside // partitions and the last dead letters; nil: nothing of these
	origin      *origin            // what its records say about where they come from
	gone        <-chan struct{}    // closed when its destination has ended for good; nil: it never does
}

// shownPartitions bounds what /status tells of partitions: a topic may have thousands.
const shownPartitions = 32

// newSink makes the sink that --sink names; d is its spool, or nil. It does not look at Kafka before hold is closed;
// nil: at once.
func newSink(cfg *config.Config, budget config.Budget, log *slog.Logger, stdout io.Writer, hold <-chan struct{}, d *disk) (sink.Sink, *view, error) {
	if cfg.Sink == config.SinkNDJSON {
		s, err := newNDJSON(cfg.Output, stdout, log)
		if err != nil {
			return nil, nil, err
		}
		return s, &view{register: func(*metrics.Metrics) {}, origin: newOrigin(cfg.Instance, nil), gone: s.Gone()}, nil
	}
	login, err := newCredentials(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	from := newOrigin(cfg.Instance, cfg.TagList())
	seen := newObserved()
	s, err := newKafka(cfg, budget, login, log, hold, d, from, seen)
	if err != nil {
		return nil, nil, err
	}
	v := &view{files: login.files, origin: from, dropReasons: kafka.DropReasons()}
	v.inside = func() sink.Inside { return s.Inside(shownPartitions) }
	v.register = func(m *metrics.Metrics) { registerKafka(m, s, seen) }
	if d != nil {
		v.register = func(m *metrics.Metrics) { registerKafka(m, s, seen); registerDisk(m, d, s, seen) }
	}
	return s, v, nil
}

// newKafka makes the Kafka sink; with a disk if that is not nil.
func newKafka(cfg *config.Config, budget config.Budget, login *credentials, log *slog.Logger, hold <-chan struct{}, d *disk, from *origin, seen *observed) (*kafka.Sink, error) {
	k, err := kafkaConfig(cfg, budget)
	if err != nil {
		return nil, err
	}
	deps := kafka.Deps{Logger: log, Observer: seen, Hold: hold, Origin: from.list}
	login.addTo(&deps)
	if d != nil {
		deps.OpenSpool = d.open
	}
	return kafka.New(k, deps)
}

// kafkaConfig is the Kafka sink's part of the settings.
func kafkaConfig(cfg *config.Config, budget config.Budget) (kafka.Config, error) {
	codec, err := recordbatch.ParseCodec(cfg.Codec)
	if err != nil {
		return kafka.Config{}, err
	}
	// Events larger than a batch have memory of their own. It comes out of the same budget.
	oversize := min(budget.MaxBody, budget.Buffers/4)
	stuck := kafka.StuckDeadLetter
	if cfg.Stuck == config.StuckBlock {
		stuck = kafka.StuckBlock
	}
	k := kafka.Config{
		StuckPartition: stuck,
		Settle:         settle(cfg.Ack), SpoolFull: spoolFull(cfg.SpoolFull), SpoolMaxAge: cfg.SpoolMaxAge, StowTime: stop.Within(cfg.ShutdownTimeout).Disk,
		Brokers: distinct(cfg.Brokers), Topic: cfg.Topic, DeadLetterTopic: cfg.DeadLetterTopic, ClientID: cfg.ClientID,
		CreateTopic: cfg.CreateTopic, TopicPartitions: cfg.TopicPartitions, TopicReplication: cfg.TopicReplication,
		Codec: codec, Linger: cfg.Linger, BatchBytes: int(cfg.BatchBytes), BufferBytes: int64(budget.Buffers - oversize),
		OversizeBytes: int64(oversize), ReplayBytes: int64(budget.Spool / 2), Instance: cfg.Instance,
		PreferIdempotence: cfg.Idempotence == config.IdempotencePrefer,
		RequestTimeout:    cfg.RequestTimeout, MetadataTTL: cfg.MetadataTTL, ShowContent: cfg.PageContent,
	}
	if cfg.Keyless == config.KeylessInstance {
		k.Keyless = kafka.KeylessInstance
	}
	switch cfg.Headers {
	case config.HeadersStandard:
		k.Headers = kafka.HeadersStandard
	case config.HeadersCloudEvents:
		k.Headers = kafka.HeadersCloudEvents
	}
	k.MarkInterval = cfg.MarkInterval
	if cfg.SASLMechanism != config.Off {
		k.SASL = kafka.SASL{Mechanism: cfg.SASLMechanism, User: cfg.SASLUser, Password: cfg.SASLPassword.Reveal()}
	}
	return k, nil
}

// distinct leaves out what is there already.
func distinct(list []string) (kept []string) {
	for _, text := range list {
		if !slices.Contains(kept, text) {
			kept = append(kept, text)
		}
	}
	return kept
}
