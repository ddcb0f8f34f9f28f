package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	requestTimeout = 2 * time.Minute // on a machine that is busy with other tests
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
// runs. It fails at once when the broker's process ends, except that one whose session with ZooKeeper has expired, for want
// of CPU, is started again, three times at most.
func (c *Cluster) WaitReady(ctx context.Context, i int) error {
	b := c.brokers[i]
	running := 0
	for _, o := range c.brokers {
		if p := o.process(); p != nil && p.Running() {
			running++
		}
	}
	return with([]string{b.direct}, func(cl *kgo.Client) error {
		for again := 0; ; {
			seen, err := countBrokers(ctx, cl.SeedBrokers()[0])
			if err == nil && seen >= running {
				return nil
			}
			if err == nil {
				err = fmt.Errorf("it knows %d of %d brokers", seen, running)
			}
			select {
			case <-b.process().Exited():
				words := b.lastWords()
				if again++; again > 3 || !strings.Contains(words, "SessionExpiredException") {
					return fmt.Errorf("broker %d ended: %s", i, words)
				}
				if err := b.start(); err != nil {
					return err
				}
			case <-ctx.Done():
				return fmt.Errorf("broker %d is not ready: %w: %s", i, err, b.lastWords())
			case <-time.After(pollInterval):
			}
		}
	})
}

func countBrokers(ctx context.Context, cl kmsg.Requestor) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
	if err != nil {
		return 0, err
	}
	return len(resp.Brokers), nil
}

// CreateTopic makes a topic with as many replicas as there are brokers, at most three, and returns when
// every broker that runs knows a leader of every partition, and the leaders take batches. configs may be nil.
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
		for {
			resp, err := req.RequestWith(ctx, cl)
			if err != nil {
				return fmt.Errorf("create topic %q: %w", name, err)
			}
			err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
			if err == nil {
				break
			}
			// A broker whose heartbeat is late, as on a loaded machine, does not count until the next one.
			if !errors.Is(err, kerr.InvalidReplicationFactor) || ctx.Err() != nil {
				return fmt.Errorf("create topic %q: %w", name, err)
			}
			time.Sleep(pollInterval)
		}
		return c.waitLeaders(ctx, name, partitions)
	})
}

// AddPartitions grows a topic to total partitions and returns when every broker that runs knows their leaders.
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
		return c.waitLeaders(ctx, name, total)
	})
}

// DeleteTopic removes a topic and returns when every broker that runs has forgotten it.
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
		if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
			return err
		}
		return c.awaitAll(ctx, func(broker kmsg.Requestor) error {
			if _, err := leadersOf(ctx, broker, name); !errors.Is(err, kerr.UnknownTopicOrPartition) {
				return errors.Join(fmt.Errorf("topic %q is still there", name), err)
			}
			return nil
		})
	})
}

// waitLeaders waits until every running broker knows leaders of partitions 0 to n-1, and the leaders know their logs: until then
// they answer a batch with a code that may also follow an append.
func (c *Cluster) waitLeaders(ctx context.Context, name string, n int) error {
	err := c.awaitAll(ctx, func(broker kmsg.Requestor) error {
		leaders, err := leadersOf(ctx, broker, name)
		if err == nil && (len(leaders) != n || slices.Contains(leaders, -1)) {
			err = fmt.Errorf("the leaders of %q are %v, want %d", name, leaders, n)
		}
		return err
	})
	if err != nil {
		return err
	}
	return with(c.direct(), func(cl *kgo.Client) error {
		return poll(ctx, func() error {
			_, err := endOffsets(ctx, cl, name)
			return err
		})
	})
}

// poll calls look until it returns nil, or ctx ends.
func poll(ctx context.Context, look func() error) error {
	for {
		err := look()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// awaitAll polls each broker that runs until look is content: brokers learn of changes one after another.
func (c *Cluster) awaitAll(ctx context.Context, look func(broker kmsg.Requestor) error) error {
	for _, b := range c.brokers {
		err := with([]string{b.direct}, func(cl *kgo.Client) error {
			return poll(ctx, func() error {
				if !b.answers() {
					return nil
				}
				return look(cl.SeedBrokers()[0]) // a request of the client may go to any broker that it hears of
			})
		})
		if err != nil {
			return fmt.Errorf("%s: %w", b.direct, err)
		}
	}
	return nil
}

// leadersOf returns the leader's node id of each partition; -1 where there is none.
func leadersOf(ctx context.Context, cl kmsg.Requestor, name string) ([]int32, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*oneTry)
	defer cancel()
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
	leaders := make([]int32, len(resp.Topics[0].Partitions))
	for _, p := range resp.Topics[0].Partitions {
		if int(p.Partition) >= len(leaders) {
			return nil, fmt.Errorf("partition %d of %d", p.Partition, len(leaders))
		}
		if leaders[p.Partition] = p.Leader; p.ErrorCode != 0 {
			leaders[p.Partition] = -1
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
		for _, node := range leaders {
			out = append(out, max(-1, int(node)-nodeID(0)))
		}
		return err
	})
	return out, err
}

// WaitInSync waits until every broker that runs says that all replicas of a topic are in sync.
func (c *Cluster) WaitInSync(ctx context.Context, name string) error {
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, topic)
	return c.awaitAll(ctx, func(broker kmsg.Requestor) error {
		ctx, cancel := context.WithTimeout(ctx, 2*oneTry)
		defer cancel()
		resp, err := req.RequestWith(ctx, broker)
		if err == nil && (len(resp.Topics) != 1 || !inSync(resp.Topics[0].Partitions)) {
			err = fmt.Errorf("topic %q is not in sync", name)
		}
		return err
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

// EndOffsets returns the end offset of each partition, by partition number. While leaders move it asks again.
func (c *Cluster) EndOffsets(topic string) ([]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	var out []int64
	err := with(c.direct(), func(cl *kgo.Client) (err error) {
		for {
			out, err = endOffsets(ctx, cl, topic)
			moving := errors.Is(err, errMoving) || kerr.IsRetriable(err) && !errors.Is(err, kerr.UnknownTopicOrPartition)
			if !moving {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(pollInterval):
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("end offsets of %q: %w", topic, err)
	}
	return out, nil
}

var errMoving = errors.New("a partition has no leader now")

func endOffsets(ctx context.Context, cl *kgo.Client, topic string) ([]int64, error) {
	leaders, err := leadersOf(ctx, cl, topic)
	if err != nil {
		return nil, err
	}
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for p, leader := range leaders {
		if leader < 0 {
			return nil, errMoving
		}
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = int32(p), -1 // -1: the end
		t.Partitions = append(t.Partitions, part)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	out := make([]int64, len(leaders))
	for _, p := range resp.Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return nil, fmt.Errorf("partition %d: %w", p.Partition, err)
		}
		out[p.Partition] = p.Offset
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
