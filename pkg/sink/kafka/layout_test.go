package kafka

import (
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataOf asks c for its layout as the sink does.
func metadataOf(t *testing.T, c *kfake.Cluster) (layout, error) {
	t.Helper()
	cfg := Config{Brokers: c.ListenAddrs(), Topic: "t"}
	cfg.setDefaults()
	cl, err := newClient(&cfg, &Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.CloseIdleConnections)
	return cl.metadata(patient(t))
}

func TestLayoutNamesTheCluster(t *testing.T) {
	got, err := metadataOf(t, cluster(t, 3, kfake.ClusterID("one-of-many")))
	if err != nil {
		t.Fatal(err)
	}
	if got.clusterID != "one-of-many" || len(got.topics["t"].brokers) != 3 {
		t.Errorf("%+v", got)
	}
}

// An index outside of the list of partitions, or a huge one, was once an index into memory.
func TestPartitionIndexesThatNoBrokerHas(t *testing.T) {
	for _, index := range []int32{-1, -1 << 31, 3, 100_000_000, 1<<31 - 1} {
		c := cluster(t, 3)
		c.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			res := kmsg.NewPtrMetadataResponse()
			res.Version = 8
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic = kmsg.StringPtr("t")
			for _, i := range []int32{0, index, 2} {
				p := kmsg.NewMetadataResponseTopicPartition()
				p.Partition = i
				topic.Partitions = append(topic.Partitions, p)
			}
			res.Topics = append(res.Topics, topic)
			return res, nil, true
		})
		if got, err := metadataOf(t, c); err == nil || !strings.Contains(err.Error(), "no Kafka broker answers so") {
			t.Errorf("%d: %+v, %v", index, got, err)
		}
	}
}

// A broker may list topics by the hundred thousand that nobody asked for.
func TestOtherTopicsAreNotKept(t *testing.T) {
	partitions := []metadata.ResponsePartition{{PartitionIndex: 0, LeaderID: 1}}
	l := layoutOf(&metadata.Response{
		Brokers: []metadata.ResponseBroker{{NodeID: 1, Host: "h", Port: 1}},
		Topics:  []metadata.ResponseTopic{{Name: "a", Partitions: partitions}, {Name: "t", Partitions: partitions}, {Name: "b"}},
	}, []string{"t", "t.dlq"})
	if len(l.topics) != 1 || len(l.topics["t"].brokers) != 1 || l.topics["t"].brokers[0] != 1 {
		t.Errorf("%+v", l)
	}
}
