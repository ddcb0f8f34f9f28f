package main

import (
	"fmt"
	"log/slog"
	"slices"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/stop"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// destination is what the settings say about Kafka: what the sink is told, and what connections are made with. Sink, replay,
// check and the readers of topics all have it from here.
type destination struct {
	config kafka.Config
	deps   kafka.Deps // the login alone
	login  *credentials
}

func newDestination(cfg *config.Config, budget config.Budget, log *slog.Logger) (*destination, error) {
	k, err := kafkaConfig(cfg, budget)
	if err != nil {
		return nil, err
	}
	login, err := newCredentials(cfg, log)
	if err != nil {
		return nil, err
	}
	c := &destination{config: k, login: login}
	login.addTo(&c.deps)
	return c, nil
}

// sink makes the Kafka sink; with a disk if that is not nil.
func (c *destination) sink(log *slog.Logger, hold <-chan struct{}, d *disk, from *origin, seen *observed) (*kafka.Sink, error) {
	deps := c.deps
	deps.Logger, deps.Observer, deps.Hold, deps.Origin = log, seen, hold, from.list
	if d != nil {
		deps.OpenSpool = d.open
	}
	return kafka.New(c.config, deps)
}

// kafkaConfig is the Kafka sink's part of the settings.
func kafkaConfig(cfg *config.Config, budget config.Budget) (kafka.Config, error) {
	// Events larger than a batch have memory of their own. It comes out of the same budget.
	oversize := min(budget.MaxBody, budget.Buffers/4)
	k := kafka.Config{
		SpoolMaxAge: cfg.SpoolMaxAge, StowTime: stop.Within(cfg.ShutdownTimeout).Disk,
		Brokers: distinct(cfg.Brokers), Topic: cfg.Topic, MoreTopics: cfg.Topics()[1:], DeadLetterTopic: cfg.DeadLetterTopic, ClientID: cfg.ClientID,
		CreateTopic: cfg.CreateTopic, TopicPartitions: cfg.TopicPartitions, TopicReplication: cfg.TopicReplication,
		Linger: cfg.Linger, BatchBytes: int(cfg.BatchBytes), BufferBytes: int64(budget.Buffers - oversize),
		OversizeBytes: int64(oversize), ReplayBytes: int64(budget.Spool / 2), Instance: cfg.Instance,
		MarkInterval: cfg.MarkInterval, RequestTimeout: cfg.RequestTimeout, MetadataTTL: cfg.MetadataTTL, ShowContent: cfg.PageContent,
	}
	if cfg.SASLMechanism != config.Off {
		k.SASL = kafka.SASL{Mechanism: cfg.SASLMechanism, User: cfg.SASLUser, Password: cfg.SASLPassword.Reveal()}
	}
	return k, takeWords(cfg, &k)
}

// takeWords takes over the settings that are one of a list of words. A word that config declares and this does not know
// is an error, and a test tries them all.
func takeWords(cfg *config.Config, k *kafka.Config) (err error) {
	if k.Codec, err = recordbatch.ParseCodec(cfg.Codec); err != nil {
		return err
	}
	if k.Settle, err = word("ack", cfg.Ack, map[string]kafka.Settle{
		config.AckAccept: kafka.SettleAtOnce, config.AckDisk: kafka.SettleOnDisk, config.AckKafka: kafka.SettleOnKafka,
	}); err != nil {
		return err
	}
	if k.SpoolFull, err = word("spool-full", cfg.SpoolFull, map[string]kafka.SpoolFull{
		config.SpoolFullBlock: kafka.SpoolFullBlock, config.SpoolFullDropOldest: kafka.SpoolFullDropOldest, config.SpoolFullDropNewest: kafka.SpoolFullDropNewest,
	}); err != nil {
		return err
	}
	if k.StuckPartition, err = word("stuck-partition", cfg.Stuck, map[string]kafka.StuckPartition{
		config.StuckDeadLetter: kafka.StuckDeadLetter, config.StuckBlock: kafka.StuckBlock,
	}); err != nil {
		return err
	}
	if k.Keyless, err = word("keyless", cfg.Keyless, map[string]kafka.Keyless{
		config.KeylessSticky: kafka.KeylessSticky, config.KeylessInstance: kafka.KeylessInstance,
	}); err != nil {
		return err
	}
	if k.Headers, err = word("headers", cfg.Headers, map[string]kafka.Headers{
		config.HeadersNone: kafka.HeadersNone, config.HeadersStandard: kafka.HeadersStandard, config.HeadersCloudEvents: kafka.HeadersCloudEvents,
	}); err != nil {
		return err
	}
	k.PreferIdempotence, err = word("idempotence", cfg.Idempotence, map[string]bool{config.IdempotenceRequire: false, config.IdempotencePrefer: true})
	return err
}

func word[T any](setting, text string, words map[string]T) (T, error) {
	value, ok := words[text]
	if !ok {
		return value, fmt.Errorf("--%s=%s is not known to the Kafka sink", setting, text)
	}
	return value, nil
}

// distinct removes repeated values.
func distinct(list []string) (kept []string) {
	for _, text := range list {
		if !slices.Contains(kept, text) {
			kept = append(kept, text)
		}
	}
	return kept
}
