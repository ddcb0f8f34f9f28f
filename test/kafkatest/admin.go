package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	requestTimeout = 30 * time.Second
	pollInterval   = 50 * time.Millisecond
	oneTry         = 5 * time.Second // of a request that is repeated
)

// with runs f with a fresh client: nothing that an earlier client knew about the cluster can be stale.
func with(seeds []string, f func(*kgo.Client) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(pollInterval),
		kgo.RequestTimeoutOverhead(oneTry))
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(cl)
}

func (c *Cluster) direct() []string {
	seeds := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		seeds[i] = b.direct
	}
	return seeds
}

// WaitReady waits until broker i answers a Metadata request that lists every broker whose process
// runs. It fails at once when the broker's process ends.
func (c *Cluster) WaitReady(ctx context.Context, i int) error {
	b := c.brokers[i]
	running := 0
	for _, o := range c.brokers {
		if p := o.process(); p != nil && p.Running() {
			running++
		}
	}
	return with([]string{b.direct}, func(cl *kgo.Client) error {
		for {
			seen, err := countBrokers(ctx, cl)
			if err == nil && seen >= running {
				return nil
			}
			if err == nil {
				err = fmt.Errorf("it knows %d of %d brokers", seen, running)
			}
			select {
			case <-b.process().Exited():
				return fmt.Errorf("broker %d ended: %s", i, b.lastWords())
			case <-ctx.Done():
				return fmt.Errorf("broker %d is not ready: %w: %s", i, err, b.lastWords())
			case <-time.After(pollInterval):
			}
		}
	})
}

func countBrokers(ctx context.Context, cl *kgo.Client) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
	if err != nil {
		return 0, err
	}
	return len(resp.Brokers), nil
}

// CreateTopic makes a topic with as many replicas as there are brokers, at most three, and returns when
// every partition has a leader. configs may be nil.
func (c *Cluster) CreateTopic(name string, partitions int, configs map[string]string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic = name
	topic.NumPartitions = int32(partitions)
	topic.ReplicationFactor = int16(min(3, len(c.brokers)))
	for k, v := range configs {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = k, &v
		topic.Configs = append(topic.Configs, cfg)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = int32(requestTimeout.Milliseconds())

	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return with(c.direct(), func(cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return fmt.Errorf("create topic %q: %w", name, err)
		}
		if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
			return fmt.Errorf("create topic %q: %w", name, err)
		}
		return waitLeaders(ctx, cl, name, partitions)
	})
}

// AddPartitions grows a topic to total partitions and returns when all have a leader.
func (c *Cluster) AddPartitions(name string, total int) error {
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = name, int32(total)
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = int32(requestTimeout.Milliseconds())

	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return with(c.direct(), func(cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return fmt.Errorf("grow topic %q: %w", name, err)
		}
		if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
			return fmt.Errorf("grow topic %q: %w", name, err)
		}
		return waitLeaders(ctx, cl, name, total)
	})
}

// DeleteTopic removes a topic.
func (c *Cluster) DeleteTopic(name string) error {
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames, req.Topics = []string{name}, append(req.Topics, topic)
	req.TimeoutMillis = int32(requestTimeout.Milliseconds())

	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return with(c.direct(), func(cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return fmt.Errorf("delete topic %q: %w", name, err)
		}
		return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	})
}

// waitLeaders polls until partitions 0 to n-1 of the topic have a leader.
func waitLeaders(ctx context.Context, cl *kgo.Client, name string, n int) error {
	for {
		leaders, err := leadersOf(ctx, cl, name)
		if err == nil && len(leaders) == n {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%d of %d partitions have a leader", len(leaders), n)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %q: %w", name, errors.Join(err, ctx.Err()))
		case <-time.After(pollInterval):
		}
	}
}

// leadersOf returns the leader's node id of each partition that has one.
func leadersOf(ctx context.Context, cl *kgo.Client, name string) (map[int32]int32, error) {
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("%d topics in the answer, want 1", len(resp.Topics))
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return nil, err
	}
	leaders := map[int32]int32{}
	for _, p := range resp.Topics[0].Partitions {
		if p.ErrorCode == 0 && p.Leader >= 0 {
			leaders[p.Partition] = p.Leader
		}
	}
	return leaders, nil
}

// Leaders returns the index of the broker that leads each partition of the topic; -1 for none.
func (c *Cluster) Leaders(topic string) ([]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	var out []int
	err := with(c.direct(), func(cl *kgo.Client) error {
		leaders, err := leadersOf(ctx, cl, topic)
		for p, node := range leaders {
			for len(out) <= int(p) {
				out = append(out, -1)
			}
			out[p] = int(node) - nodeID(0)
		}
		return err
	})
	return out, err
}

// WaitInSync waits until every partition of a topic has all its replicas in sync.
func (c *Cluster) WaitInSync(ctx context.Context, name string) error {
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, topic)
	return with(c.direct(), func(cl *kgo.Client) error {
		for {
			resp, err := req.RequestWith(ctx, cl)
			if err == nil && len(resp.Topics) == 1 && inSync(resp.Topics[0].Partitions) {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("topic %q is not in sync: %w", name, errors.Join(err, ctx.Err()))
			case <-time.After(pollInterval):
			}
		}
	})
}

func inSync(partitions []kmsg.MetadataResponseTopicPartition) bool {
	for _, p := range partitions {
		if p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
			return false
		}
	}
	return len(partitions) > 0
}

// EndOffsets returns the end offset of each partition, by partition number.
func (c *Cluster) EndOffsets(topic string) ([]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	var out []int64
	err := with(c.direct(), func(cl *kgo.Client) error {
		leaders, err := leadersOf(ctx, cl, topic)
		if err != nil {
			return err
		}
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for p := range leaders {
			part := kmsg.NewListOffsetsRequestTopicPartition()
			part.Partition, part.Timestamp = p, -1 // -1: the end
			t.Partitions = append(t.Partitions, part)
		}
		req := kmsg.NewPtrListOffsetsRequest()
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		out = make([]int64, len(leaders))
		for _, p := range resp.Topics[0].Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
			if int(p.Partition) >= len(out) {
				return fmt.Errorf("partition %d of %d has no leader", p.Partition, len(out))
			}
			out[p.Partition] = p.Offset
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("end offsets of %q: %w", topic, err)
	}
	return out, nil
}

// Count is the sum of the end offsets of a topic: the number of records ever written to it, if no
// transaction marker was.
func (c *Cluster) Count(topic string) (int64, error) {
	offsets, err := c.EndOffsets(topic)
	var n int64
	for _, o := range offsets {
		n += o
	}
	return n, err
}
