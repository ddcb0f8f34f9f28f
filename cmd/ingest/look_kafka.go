package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/pkg/sink/kafka"
)

// kafka looks at brokers and topics as the sink will.
func (l *findings) kafka(ctx context.Context, cfg *config.Config, budget config.Budget) {
	k, err := newDestination(cfg, budget, slog.New(slog.DiscardHandler))
	if err != nil { // plan has accepted it: a file has changed since
		l.add(levelFailed, "settings", "", "%v", err)
		return
	}
	const mostSteps = 7 // one after another: addresses, leaders, versions, producer, configuration, quotas, and a bit
	ctx, cancel := context.WithTimeout(ctx, mostSteps*cfg.RequestTimeout)
	defer cancel()
	p := kafka.Probe(ctx, k.config, k.deps)
	l.brokers(&p)
	if !p.Answered {
		return
	}
	for i := range p.Topics {
		l.topic(cfg, budget, &p, &p.Topics[i])
	}
	l.deadLetterTopic(cfg, &p)
	l.producer(cfg, &p)
	l.quotas(&p)
	if cfg.Codec == "zstd" && p.ProduceVersion >= 0 && p.ProduceVersion < 7 {
		l.add(levelFailed, "codec", "set --codec=snappy, or another that they take", "the brokers are older than 2.1 and do not take zstd")
	}
	if cfg.SASLMechanism == "PLAIN" && !cfg.TLS {
		l.add(levelWarning, "login", "set --tls, or --sasl-mechanism=SCRAM-SHA-512", "--sasl-mechanism=PLAIN without --tls sends the password in clear text")
	}
	if cfg.SASLMechanism == config.OAuthBearer && !cfg.TLS {
		l.add(levelWarning, "login", "set --tls", "--sasl-mechanism=OAUTHBEARER without --tls sends the token in clear text")
	}
}

// brokers tells of each address. One that answers is enough for a start; a leader must be reachable for its partitions.
func (l *findings) brokers(p *kafka.Probed) {
	for _, a := range p.Addresses {
		subject := "broker " + a.Address
		if a.Advertised {
			subject = fmt.Sprintf("broker %s, advertised by the cluster, leader of %d partitions", a.Address, a.Leads)
		}
		if a.Err == nil {
			l.add(levelOK, subject, "", "answers")
			continue
		}
		text, remedy := p.Explain(a.Err)
		at := levelFailed
		switch {
		case a.Advertised:
			remedy = "start it, or correct its advertised.listeners: this address must be reachable from here"
		case p.Answered:
			at = levelWarning
		}
		l.add(at, subject, remedy, "%s", text)
	}
	if p.Answered {
		l.add(levelOK, "cluster", "", "%s, %d brokers", p.ClusterID, p.Brokers)
	}
}

func (l *findings) topic(cfg *config.Config, budget config.Budget, p *kafka.Probed, t *kafka.ProbedTopic) {
	subject := "topic " + t.Name
	if kafka.IsMissing(t.Err) && cfg.CreateTopic {
		if p.CreateTopics == kafka.PermissionDenied {
			l.add(levelWarning, subject, "create it, or grant CREATE on it or on the cluster", "does not exist, and --create-topic may not be allowed to make it")
		} else {
			l.add(levelNote, subject, "", "does not exist and is made at the start (--create-topic)")
		}
		return
	}
	if !l.usable(p, subject, t) {
		return
	}
	l.sizes(cfg, budget, subject, t)
	l.timestamps(cfg, subject, t)
	if t.Compacted {
		l.add(levelWarning, subject, "take a topic with cleanup.policy=delete", "is compacted: events without a traceId are refused and go to the dead-letter topic, and of a traceId only the last event stays")
	}
}

// deadLetterTopic: it is made with the first dead letter, so that it may be missing.
func (l *findings) deadLetterTopic(cfg *config.Config, p *kafka.Probed) {
	t := &p.DeadLetterTopic
	subject := "dead-letter topic " + t.Name
	switch {
	case kafka.IsMissing(t.Err) && p.CreateTopics == kafka.PermissionDenied:
		l.add(levelWarning, subject, "create it, or grant CREATE on it or on the cluster", "does not exist, and may not be made with the first dead letter; until then dead letters wait, and are dropped in the end")
	case kafka.IsMissing(t.Err):
		l.add(levelNote, subject, "", "does not exist and is made with the first dead letter")
	case l.usable(p, subject, t):
		if t.Compacted {
			l.add(levelFailed, subject, "take a topic with cleanup.policy=delete, --dead-letter-topic", "is compacted: it refuses dead letters, which have no key")
		}
	}
}

// usable tells of leaders and permissions; false: nothing more can be said.
func (l *findings) usable(p *kafka.Probed, subject string, t *kafka.ProbedTopic) bool {
	if t.Err != nil {
		text, remedy := p.Explain(t.Err)
		l.add(levelFailed, subject, remedy, "%s", text)
		return false
	}
	if t.Write == kafka.PermissionDenied {
		l.add(levelFailed, subject, "grant WRITE on it to the user of --sasl or of --tls-cert", "may not be written")
	}
	if t.Leaderless > 0 {
		l.add(levelFailed, subject, "start the brokers that hold their replicas", "%d of %d partitions have no leader", t.Leaderless, t.Partitions)
	}
	if t.ShortOfReplicas > 0 {
		l.add(levelFailed, subject, "start the brokers that hold their replicas, or lower min.insync.replicas of the topic",
			"%d of %d partitions have fewer replicas in sync than min.insync.replicas=%d and refuse writes", t.ShortOfReplicas, t.Partitions, t.MinInSync)
	}
	if t.ConfigErr != nil {
		text, _ := p.Explain(t.ConfigErr)
		l.add(levelNote, subject, "", "its configuration was not looked at (DESCRIBE_CONFIGS): %s", text)
	}
	if t.Write != kafka.PermissionDenied && t.Leaderless == 0 && t.ShortOfReplicas == 0 {
		words := "may be written"
		if t.Write == kafka.PermissionUnknown {
			words = "whether it may be written the cluster does not tell"
		}
		l.add(levelOK, subject, "", "%d partitions, all with a leader; %s", t.Partitions, words)
	}
	return true
}

func (l *findings) sizes(cfg *config.Config, budget config.Budget, subject string, t *kafka.ProbedTopic) {
	most := config.Bytes(t.MaxMessageBytes)
	if most == 0 {
		return
	}
	const least = 16 * config.KiB // below it hardly an event passes
	switch {
	case most < least:
		l.add(levelWarning, subject, "raise max.message.bytes of the topic", "takes batches of at most %s: larger events go to the dead-letter topic", short(most))
	case most < cfg.BatchBytes:
		l.add(levelWarning, subject, fmt.Sprintf("set --batch-bytes=%dKiB, or raise max.message.bytes of the topic", most/config.KiB),
			"takes batches of at most %s, less than --batch-bytes=%s: those that compress badly are sent again in parts", short(most), cfg.BatchBytes)
	case most < budget.MaxBody:
		l.add(levelNote, subject, "", "takes batches of at most %s: an event beyond that (--max-body=%s) goes to the dead-letter topic", short(most), budget.MaxBody)
	}
}

// timestamps: a record has the time of its arrival here. What waits for longer than the topic allows is refused.
func (l *findings) timestamps(cfg *config.Config, subject string, t *kafka.ProbedTopic) {
	if t.LogAppendTime || t.TimestampBefore == 0 && t.TimestampAfter == 0 {
		return
	}
	const outage = 24 * time.Hour // that a spool should see through
	if before := t.TimestampBefore; before > 0 && (before < cfg.AckTimeout || cfg.Spools() && before < outage) {
		l.add(levelWarning, subject, "raise message.timestamp.before.max.ms of the topic, or set message.timestamp.type=LogAppendTime",
			"refuses the time of events that waited for longer than %v, in an outage or in the spool", before)
	}
	const clocks = 10 * time.Second // between two machines
	if after := t.TimestampAfter; after > 0 && after < clocks {
		l.add(levelWarning, subject, "raise message.timestamp.after.max.ms of the topic", "refuses the time of events if this clock is %v ahead of the broker's", after)
	}
}

func (l *findings) producer(cfg *config.Config, p *kafka.Probed) {
	if p.ProducerErr == nil {
		l.add(levelOK, "idempotent producer", "", "allowed")
		return
	}
	text, remedy := p.Explain(p.ProducerErr)
	if cfg.Idempotence == config.IdempotencePrefer && !errors.Is(p.ProducerErr, context.DeadlineExceeded) {
		l.add(levelWarning, "idempotent producer", "", "%s; with --idempotence=prefer events are sent without, and may arrive twice", text)
		return
	}
	l.add(levelFailed, "idempotent producer", remedy, "%s", text)
}

// leastByteRate is a quota in bytes a second below which bursts of a busy function are throttled: some 4,000 events.
const leastByteRate = 1 << 20

// quotas tells which limits slow this client down. They bind on each broker by itself.
func (l *findings) quotas(p *kafka.Probed) {
	const subject = "quotas"
	q := &p.Quotas
	if q.Err != nil {
		text, _ := p.Explain(q.Err)
		if kafka.IsDenied(q.Err) {
			text = "DESCRIBE_CONFIGS on the cluster is denied"
		}
		l.add(levelNote, subject, "", "could not be looked at: %s; the log and /status say if one slows this client down", text)
		return
	}
	if rate := q.ByteRate; rate.Of != "" {
		text := fmt.Sprintf("producer_byte_rate=%.0f is in force, bytes a second on each broker, set for %s", rate.Limit, rate.Of)
		if rate.Limit < leastByteRate {
			l.add(levelWarning, subject, "raise it, or set another --client-id or user", "%s: beyond it events wait in memory or in the spool", text)
		} else {
			l.add(levelNote, subject, "", "%s", text)
		}
	}
	if share := q.RequestTime; share.Of != "" {
		l.add(levelNote, subject, "", "request_percentage=%g is in force, of the time of one thread of each broker, set for %s", share.Limit, share.Of)
	}
	if q.ByteRate.Of != "" || q.RequestTime.Of != "" {
		return
	}
	if q.UserUnknown {
		l.add(levelNote, subject, "", "none for default users and client ids; which user the cluster takes this client for is not known here")
		return
	}
	l.add(levelOK, subject, "", "none slows this client down")
}
