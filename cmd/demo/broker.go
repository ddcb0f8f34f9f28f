package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	topic           = "telemetry"
	deadTopic       = topic + ".dlq"
	partitions      = 4
	deadPartitions  = 1
	brokerLibrary   = "kfake"
	consumerLibrary = "franz-go"
)

// broker is a Kafka cluster of one broker inside this process. It speaks the protocol over TCP.
type broker struct {
	cluster *kfake.Cluster
	cold    *freezer
}

func startBroker() (*broker, error) {
	cold := newFreezer()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(cold.listen),
		kfake.SeedTopics(partitions, topic), kfake.SeedTopics(deadPartitions, deadTopic))
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return &broker{c, cold}, nil
}

func (b *broker) addr() string { return b.cluster.ListenAddrs()[0] }

// outage is when the broker freezes in a run of that length, and for how long: of 15 s from the 5th to the 9th.
func outage(run time.Duration) (from, length time.Duration) {
	return run / 3, min(run*4/15, 4*time.Second)
}

// trouble lets the broker break down while the demo goes on; stop ends it.
func (b *broker) trouble(ctx context.Context, run time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var story sync.WaitGroup
	from, length := outage(run)
	story.Go(func() { b.breakDown(ctx, from, length) })
	return func() {
		cancel()
		story.Wait()
	}
}

// breakDown freezes the broker once; the end of ctx thaws it early.
func (b *broker) breakDown(ctx context.Context, from, length time.Duration) {
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	if wait(from); ctx.Err() != nil {
		return
	}
	defer b.cold.freeze()()
	wait(length)
}

// ends is the offset behind the last record of every partition.
func (b *broker) ends() map[place]int64 {
	ends := map[place]int64{}
	for _, name := range []string{topic, deadTopic} {
		for _, p := range b.cluster.PartitionInfos(name) {
			ends[place{name, p.Partition}] = p.HighWatermark
		}
	}
	return ends
}

func (b *broker) close() { b.cluster.Close() }
