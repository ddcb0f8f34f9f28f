package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
)

// toTopic is the value of --to that means the topic itself, where the letter was to go.
const toTopic = "topic"

// errOpen ends a resend, because each following letter would wait as long, or go the same way.
var errOpen = errors.New("whether that letter was taken is open")

// errDoor ends a resend, because the listener would not take any other letter either.
var errDoor = errors.New("no letter can be sent there")

// letterTopic sends dead letters to the topic, past any listener, one after the other.
type letterTopic struct {
	sink *kafka.Sink
	cfg  *config.Config
}

func (r *reading) openTopic() (*letterTopic, error) {
	k := r.config
	k.Headers, k.MarkInterval, k.Settle = kafka.HeadersNone, 0, kafka.SettleOnKafka
	s, err := kafka.New(k, r.deps)
	if err != nil {
		return nil, err
	}
	return &letterTopic{s, r.cfg}, nil
}

// send sends one. again: the topic does not take it, and it became a dead letter once more.
func (t *letterTopic) send(ctx context.Context, l *letter) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, resendTimeout)
	defer cancel()
	topic, err := l.topic(t.cfg)
	if err != nil {
		return false, err
	}
	rec := sink.Record{Topic: topic, Key: l.key(), Value: l.bytes(), Headers: l.origin(), Timestamp: cmp.Or(max(0, l.Time.UnixMilli()), time.Now().UnixMilli())}
	before, done := t.sink.Stats(), make(settlement, 1)
	if _, err := t.sink.Append(ctx, []sink.Record{rec}, done); err != nil {
		return false, fmt.Errorf("%w: %w", errOpen, t.why(err))
	}
	t.sink.Flush()
	select {
	case lost := <-done:
		if lost > 0 {
			return false, errors.New("no topic takes it")
		}
		return t.sink.Stats().DeadLettered > before.DeadLettered, nil
	case <-ctx.Done():
		return false, fmt.Errorf("%w: %w", errOpen, t.why(ctx.Err()))
	}
}

// topic is the place of the letter's topic in [config.Config.Topics]; a letter that names none goes to the first one. A
// topic that no setting names is an error: the letter may belong to another program that shares the dead-letter topic.
func (l *letter) topic(cfg *config.Config) (int, error) {
	name := l.Headers[kafka.HeaderTopic]
	i := cfg.TopicIndex(name)
	if i < 0 {
		return 0, fmt.Errorf("it was to go to topic %q, which no setting names: name it in --topic, --topic-platform, --topic-function or --topic-extension, "+
			"or change %s in a file of dlq show and give that as --input", printable.Text(name), kafka.HeaderTopic)
	}
	return i, nil
}

// why returns the reason that nothing is sent, if it is known.
func (t *letterTopic) why(err error) error {
	if d := t.sink.Delivery(); d.Trouble.Kind != "" {
		return fmt.Errorf("%s: %s", d.Trouble.Reason, d.Trouble.Remedy)
	}
	return err
}

func (t *letterTopic) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.sink.Close(ctx) // what it has was waited for
}

// settlement is the Ack of one event.
type settlement chan int

func (settlement) Hold() {}

func (s settlement) Settle(lost int) {
	select {
	case s <- lost:
	default: // it is told once
	}
}

// origin are the headers that say where the event came from. Those of the dead letter, and its number, stay behind: the
// number is that of the dead letter.
func (l *letter) origin() (h []sink.Header) {
	for key, value := range l.Headers {
		switch key {
		case kafka.HeaderInstance, "ingest-function", "ingest-version", "ingest-region", "ingest-project", "ingest-alias":
		default:
			if !strings.HasPrefix(key, "ingest-tag-") {
				continue
			}
		}
		h = append(h, sink.Header{Key: key, Value: []byte(value)})
	}
	slices.SortFunc(h, func(a, b sink.Header) int { return cmp.Compare(a.Key, b.Key) })
	return h
}
