package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/test/kafkatest"
)

// broker is what the suite needs of a Kafka.
type broker interface {
	Bootstrap() string
	CreateTopic(name string, partitions int, configs map[string]string) error
	DeleteTopic(name string) error
	Count(topic string) (int64, error)
	Close() error
}

// startBroker starts what a scenario asks for.
func startBroker(ctx context.Context, k Kafka) (broker, error) {
	if k.Embedded {
		c, err := kfake.NewCluster(kfake.NumBrokers(k.Brokers))
		if err != nil {
			return nil, err
		}
		return &embedded{c}, nil
	}
	properties := map[string]string{
		// The records are counted by offsets; their bytes can go early.
		"log.retention.check.interval.ms": "1000",
		"log.segment.delete.delay.ms":     "100",
		"log.initial.task.delay.ms":       "1000",
	}
	if k.Brokers == 1 {
		properties["broker.session.timeout.ms"] = "18000" // a starved machine is not a dead broker
	}
	return kafkatest.StartCluster(ctx, kafkatest.Options{Brokers: k.Brokers, Heap: "1g", Properties: properties})
}

// topicConfigs let old records go at 128 MiB a partition.
func topicConfigs() map[string]string {
	return map[string]string{"segment.bytes": fmt.Sprint(128 << 20), "retention.bytes": fmt.Sprint(128 << 20), "file.delete.delay.ms": "100"}
}

// trouble makes a fault and returns how to end it.
func trouble(b broker, f Fault) (end func() error, err error) {
	c, ok := b.(*kafkatest.Cluster)
	if !ok {
		return nil, errors.New("faults need a real Kafka")
	}
	switch f.Kind {
	case "freeze":
		return func() error { return c.Thaw(f.Broker) }, c.Freeze(f.Broker)
	case "kill":
		return func() error { return c.Restart(f.Broker) }, c.Kill(f.Broker)
	}
	return func() error { return c.Restart(f.Broker) }, c.Stop(f.Broker)
}

// embedded is franz-go's imitation of a Kafka.
type embedded struct{ c *kfake.Cluster }

func (e *embedded) Bootstrap() string { return e.c.ListenAddrs()[0] }

func (e *embedded) Close() error {
	e.c.Close()
	return nil
}

func (e *embedded) CreateTopic(name string, partitions int, configs map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(partitions), 1
	for k, v := range maps.All(configs) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(v)
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)
	return e.ask(func(ctx context.Context, cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err == nil && len(resp.Topics) == 1 && resp.Topics[0].ErrorCode != 0 {
			err = fmt.Errorf("create topic: error %d", resp.Topics[0].ErrorCode)
		}
		return err
	})
}

func (e *embedded) DeleteTopic(name string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{name}
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, t)
	return e.ask(func(ctx context.Context, cl *kgo.Client) error {
		_, err := req.RequestWith(ctx, cl)
		return err
	})
}

func (e *embedded) Count(topic string) (n int64, err error) {
	for _, p := range e.c.PartitionInfos(topic) {
		n += p.HighWatermark
	}
	return n, nil
}

func (e *embedded) ask(f func(context.Context, *kgo.Client) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.c.ListenAddrs()...))
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(context.Background(), cl)
}
