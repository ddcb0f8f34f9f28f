package kafka

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// What a metadata answer may hold at most. Memory is taken for each partition, and two goroutines for each broker
// that leads one.
const (
	maxPartitions = 20_000 // of all topics together
	maxBrokers    = 1_000
	maxHost       = 255 // bytes of a host's name
)

// maxClusterID is how much of a cluster's id is compared: what a spool keeps of it.
const maxClusterID = 127

// layout is what one metadata answer tells about the cluster.
type layout struct {
	clusterID  string // "" from brokers that have none (before Kafka 0.10.1)
	controller int32
	brokers    map[int32]string   // their addresses
	topics     map[string]leaders // of our topics, by name
}

// leaders is one topic's leaders by partition; -1 where there is none.
type leaders struct {
	err     error // the topic cannot be used: why
	brokers []int32
}

// credible reports what is wrong with a metadata answer that no broker gives.
func credible(m *metadata.Response) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("the metadata "+format+": no Kafka broker answers so", args...)
	}
	if len(m.Brokers) > maxBrokers {
		return bad("lists %d brokers, at most %d are expected", len(m.Brokers), maxBrokers)
	}
	for i := range m.Brokers {
		if b := &m.Brokers[i]; b.NodeID < 0 || b.Host == "" || len(b.Host) > maxHost || b.Port < 1 || b.Port > 65535 {
			return bad("lists a broker %d at %.300q, port %d", b.NodeID, b.Host, b.Port)
		}
	}
	total := 0
	for i := range m.Topics {
		t := &m.Topics[i]
		if total += len(t.Partitions); total > maxPartitions {
			return bad("lists more than %d partitions", maxPartitions)
		}
		for j := range t.Partitions {
			// An answer lists every partition of a topic, those without a leader too.
			if p := t.Partitions[j].PartitionIndex; p < 0 || int(p) >= len(t.Partitions) {
				return bad("names partition %d of topic %.300q and lists %d partitions", p, t.Name, len(t.Partitions))
			}
		}
	}
	return nil
}

// clusterOf is the id of the cluster that a metadata answer names.
func clusterOf(m *metadata.Response) string {
	return m.ClusterID[:min(len(m.ClusterID), maxClusterID)]
}

// brokersOf are the addresses of the brokers in a credible metadata answer.
func brokersOf(m *metadata.Response) map[int32]string {
	brokers := make(map[int32]string, len(m.Brokers))
	for i := range m.Brokers {
		b := &m.Brokers[i]
		brokers[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	return brokers
}

// layoutOf reads a credible metadata answer. Of topics that are not ours nothing is kept.
func layoutOf(m *metadata.Response, ours []string) layout {
	l := layout{clusterID: clusterOf(m), controller: m.ControllerID, brokers: brokersOf(m), topics: map[string]leaders{}}
	for i := range m.Topics {
		t := &m.Topics[i]
		if !slices.Contains(ours, t.Name) {
			continue
		}
		out := leaders{brokers: make([]int32, len(t.Partitions))}
		if t.ErrorCode != 0 {
			out.err = kafkago.Error(t.ErrorCode)
		}
		for p := range out.brokers {
			out.brokers[p] = -1
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if _, known := l.brokers[p.LeaderID]; known {
				out.brokers[p.PartitionIndex] = p.LeaderID
			}
		}
		l.topics[t.Name] = out
	}
	return l
}
