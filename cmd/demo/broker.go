package main

import (
	"fmt"

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
type broker struct{ cluster *kfake.Cluster }

func startBroker() (*broker, error) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1),
		kfake.SeedTopics(partitions, topic), kfake.SeedTopics(deadPartitions, deadTopic))
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return &broker{cluster: c}, nil
}

func (b *broker) addr() string { return b.cluster.ListenAddrs()[0] }

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
