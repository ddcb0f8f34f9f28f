package main

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/internal/fgsim"
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// consumed is everything that was read, partition by partition in the order of the offsets.
type consumed struct {
	sightings []fgsim.Sighting
	oddities  []string // gaps and errors; the first few
	odd       int      // how many there are
}

// sample is a record for the eye.
type sample struct {
	offset int64
	key    string
	value  []byte
	reason string // of a dead letter
}

// consumerStats are counts so far, and the last record of every partition.
type consumerStats struct {
	events, dead int64
	reasons      map[string]int64
	last         map[place]sample
}

const (
	maxOddities  = 5
	fetchWait    = 100 * time.Millisecond // fewer and bigger fetches: the broker shares our CPU
	fetchBytes   = 256 << 10
	reasonHeader = "ingest-reason"
)

// consumer reads both topics from their start with a client that shares no code with ingest.
type consumer struct {
	client *kgo.Client
	done   chan struct{}
	moved  chan struct{} // something was read

	mu    sync.Mutex
	all   consumed
	stats consumerStats
	next  map[place]int64
}

func startConsumer(ctx context.Context, brokers string) (*consumer, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topic, deadTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMinBytes(fetchBytes), kgo.FetchMaxWait(fetchWait))
	if err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	c := &consumer{client: client, done: make(chan struct{}), moved: make(chan struct{}, 1), next: map[place]int64{}}
	c.stats.reasons, c.stats.last = map[string]int64{}, map[place]sample{}
	go c.run(ctx)
	return c, nil
}

func (c *consumer) run(ctx context.Context) {
	defer close(c.done)
	for {
		fetches := c.client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		c.mu.Lock()
		fetches.EachError(func(t string, p int32, err error) { c.oddity("%s/%d: %v", t, p, err) })
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			for _, r := range f.Records {
				c.take(r)
			}
			if n := len(f.Records); n > 0 {
				c.remember(f.Records[n-1])
			}
		})
		c.mu.Unlock()
		select {
		case c.moved <- struct{}{}:
		default:
		}
	}
}

// take notes one record. c.mu is held.
func (c *consumer) take(r *kgo.Record) {
	at := place{r.Topic, r.Partition}
	if next := c.next[at]; r.Offset != next {
		c.oddity("%s/%d: offset %d follows %d", r.Topic, r.Partition, r.Offset, next-1)
	}
	c.next[at] = r.Offset + 1
	s := fgsim.Sighting{Key: string(r.Key), Value: r.Value, Partition: r.Partition, DeadLetter: r.Topic == deadTopic}
	if s.DeadLetter {
		c.stats.dead++
		c.stats.reasons[header(r, reasonHeader)]++
	} else {
		c.stats.events++
	}
	c.all.sightings = append(c.all.sightings, s)
}

// remember keeps a record for the eye. c.mu is held.
func (c *consumer) remember(r *kgo.Record) {
	c.stats.last[place{r.Topic, r.Partition}] = sample{offset: r.Offset, key: string(r.Key), value: r.Value, reason: header(r, reasonHeader)}
}

func (c *consumer) oddity(format string, args ...any) {
	if c.all.odd++; len(c.all.oddities) < maxOddities {
		c.all.oddities = append(c.all.oddities, fmt.Sprintf(format, args...))
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// look returns the counts so far.
func (c *consumer) look() consumerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.reasons, s.last = maps.Clone(s.reasons), maps.Clone(s.last)
	return s
}

// drain reads up to ends, closes the client, and returns everything that was read.
func (c *consumer) drain(ctx context.Context, ends map[place]int64) (consumed, error) {
	var err error
	for behind := c.behind(ends); behind > 0 && err == nil; behind = c.behind(ends) {
		select {
		case <-c.moved:
		case <-ctx.Done():
			err = fmt.Errorf("the consumer is %d records behind the end of the topics: %w", behind, context.Cause(ctx))
		}
	}
	c.close()
	return c.all, err
}

func (c *consumer) behind(ends map[place]int64) (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, end := range ends {
		n += max(0, end-c.next[at])
	}
	return n
}

// close is idempotent and waits.
func (c *consumer) close() {
	c.client.Close()
	<-c.done
}
