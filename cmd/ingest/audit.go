package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"functiongraph-ingest/internal/audit"
	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/spoolctl"
	"functiongraph-ingest/pkg/sink/kafka"
)

// runAudit reads the topics and their dead letters and prints what is missing. Exit code 0: nothing is; 1: they cannot be
// read; 3: something is, or it cannot be told.
func runAudit(inv *config.Invocation, stdout, stderr io.Writer) int {
	cfg := inv.Config
	read, err := newReading(cfg)
	if err != nil {
		return complain(stderr, err)
	}
	stop, _, end := signals()
	defer end()
	report, err := read.audit(stop, inv.Range, stderr)
	if err == nil && inv.JSON {
		err = report.WriteJSON(stdout)
	} else if err == nil {
		err = report.WriteText(stdout)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "ingest: "+err.Error())
		return exitFailed
	case !report.Complete:
		return exitDropped
	}
	return exitOK
}

// reading holds settings and destination of a command that reads topics.
type reading struct {
	cfg *config.Config
	*destination
}

// newReading checks the settings. An error is about them.
func newReading(cfg *config.Config) (*reading, error) {
	budget, err := plan(cfg)
	if err != nil {
		return nil, err
	}
	k, err := newDestination(cfg, budget, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &reading{cfg, k}, nil
}

// topic passes the records of a topic to yield, with a bar on stderr. No topic at all is an error unless it may be missing.
func (r *reading) topic(ctx context.Context, q kafka.Query, mayMiss bool, stderr io.Writer, yield func(*kafka.Consumed) error) ([]kafka.Span, error) {
	bar := spoolctl.NewProgress(stderr, isTerminal(stderr), time.Now, func(done, total int64) string {
		return fmt.Sprintf("%d of %d offsets of %s", done, total, q.Topic)
	})
	defer bar.End()
	q.Progress = bar.At
	spans, err := kafka.Read(ctx, r.config, r.deps, q, yield)
	if errors.Is(err, kafka.ErrNoTopic) && mayMiss {
		return nil, nil
	}
	if err != nil && ctx.Err() == nil {
		if text, remedy := kafka.Explain(err, &r.config, &r.deps); remedy != "" {
			err = fmt.Errorf("%s: %s", text, remedy)
		}
	}
	return spans, err
}

func (r *reading) audit(ctx context.Context, window config.Range, stderr io.Writer) (*audit.Report, error) {
	a := audit.New(r.cfg.DeadLetterTopic, window.Until)
	for _, topic := range append(r.cfg.Topics(), r.cfg.DeadLetterTopic) {
		q := kafka.Query{Topic: topic, Since: window.Since} // to the end: what --until cuts off may stand before older records
		if topic == r.cfg.Topic {
			q.Offsets = window.Offsets
		}
		spans, err := r.topic(ctx, q, topic == r.cfg.DeadLetterTopic, stderr, func(c *kafka.Consumed) error {
			return a.Add(topic, c)
		})
		if err != nil {
			return nil, err
		}
		for _, s := range spans {
			if _, cut := q.Offsets[s.Partition]; cut {
				a.Cut(topic, s.Partition, s.First > 0, s.End < s.Latest)
			} else if s.First > 0 {
				a.Partial(topic, s.Partition, s.First == s.Start)
			}
		}
	}
	return a.Report(), nil
}
