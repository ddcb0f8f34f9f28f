package kafka

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Permission is what a cluster says about an operation.
type Permission uint8

// The values of Permission. Brokers before 2.3, and those that are no Apache Kafka, do not tell.
const (
	PermissionUnknown Permission = iota
	PermissionGranted
	PermissionDenied
)

// Probed is what Probe found. Errors of the broker are [kafkago.Error], those of the network what the dialler gave.
type Probed struct {
	// Addresses are those of Config.Brokers, then the advertised ones of leaders that are not among them.
	Addresses []ProbedAddress
	// ClusterID is "" where no broker answered, or tells none; all that follows is then empty.
	ClusterID       string
	Answered        bool // a broker gave metadata; else all that follows is empty
	Brokers         int
	ProduceVersion  int16         // newest version of a produce request that the broker takes; -1: not known. Zstandard needs 7
	Topics          []ProbedTopic // Config.Topic and MoreTopics
	DeadLetterTopic ProbedTopic
	ProducerErr     error // nil: the cluster gave a producer id
	Quotas          ProbedQuotas
	CreateTopics    Permission // CREATE on the cluster; topics can have it of their own, which it does not tell

	given given
}

// ProbedAddress is one address that a sink would connect to.
type ProbedAddress struct {
	Address    string
	Advertised bool  // learned from metadata, not from Config.Brokers
	Leads      int   // partitions of the topics, of an advertised one
	Err        error // nil: it resolves, connects, takes TLS and login, and answers as Kafka does
}

// ProbedTopic is one topic. Values of its configuration are 0 where ConfigErr says why they are not known.
type ProbedTopic struct {
	Name       string
	Err        error // it cannot be used: why
	Partitions int
	Leaderless int // partitions without a leader
	// ShortOfReplicas are partitions with fewer replicas in sync than min.insync.replicas: they refuse acks=all.
	ShortOfReplicas int
	MinInSync       int
	Write           Permission
	MaxMessageBytes int64         // of a batch, as compressed
	TimestampBefore time.Duration // how old a record's timestamp may be
	TimestampAfter  time.Duration // how far it may be ahead of the broker's clock
	LogAppendTime   bool          // the broker's clock is taken, and the two above mean nothing
	Compacted       bool          // cleanup.policy has compact, so records without a key are refused
	ConfigErr       error
}

// maxProbedLeaders bounds the advertised addresses that are tried; a cluster may have hundreds.
const maxProbedLeaders = 32

// Probe looks at a cluster as a sink of this configuration would see it: every address, login, topics, permissions.
// It sends no record and makes no topic. A producer id is asked for, which is a number and leaves nothing behind.
// Config must be valid. Each step has Config.RequestTimeout; all have ctx. No connection is open when it returns.
func Probe(ctx context.Context, cfg Config, deps Deps) Probed {
	cfg.setDefaults()
	p := &probe{cfg: cfg, deps: deps}
	out := Probed{ProduceVersion: -1, given: givenBy(&cfg, &deps)}

	answers := p.each(ctx, cfg.Brokers)
	var good *probeAnswer
	for i, a := range answers {
		out.Addresses = append(out.Addresses, ProbedAddress{Address: cfg.Brokers[i], Err: a.err})
		if a.err == nil && good == nil {
			good = &answers[i]
		}
	}
	if good == nil {
		return out
	}
	out.Answered, out.ClusterID, out.Brokers = true, good.meta.ClusterID, len(good.meta.Brokers)
	for _, name := range cfg.mainTopics() {
		out.Topics = append(out.Topics, topicOf(good.meta, name))
	}
	out.DeadLetterTopic = topicOf(good.meta, cfg.DeadLetterTopic)
	out.CreateTopics = permission(good.meta.ClusterAuthorizedOperations, operationCreate)
	out.Addresses = append(out.Addresses, p.leaders(ctx, good.meta)...)

	working := p.cfg
	working.Brokers = []string{good.address}
	cl, err := newClient(&working, &deps)
	if err != nil {
		out.ProducerErr = err
		return out
	}
	defer cl.CloseIdleConnections()
	out.ProduceVersion = cl.produceVersion(ctx)
	out.ProducerErr = cl.mayProduce(ctx)
	described := []*ProbedTopic{&out.DeadLetterTopic}
	for i := range out.Topics {
		described = append(described, &out.Topics[i])
	}
	cl.describe(ctx, good.meta, described...)
	out.Quotas = cl.quotas(ctx, quotaUser(&cfg, &deps), cfg.ClientID)
	return out
}

type probe struct {
	cfg  Config
	deps Deps
}

type probeAnswer struct {
	address string
	meta    *metadata.Response
	err     error
}

// each asks all addresses at the same time, a few at once.
func (p *probe) each(ctx context.Context, addresses []string) []probeAnswer {
	const atOnce = 8
	answers := make([]probeAnswer, len(addresses))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, address := range addresses {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			m, err := p.ask(ctx, address)
			answers[i] = probeAnswer{address, m, err}
		})
	}
	all.Wait()
	return answers
}

// ask takes one address through all steps of a connection.
func (p *probe) ask(ctx context.Context, address string) (*metadata.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTimeout)
	defer cancel()
	cfg := p.cfg
	cfg.Brokers = []string{address}
	cl, err := newClient(&cfg, &p.deps)
	if err != nil {
		return nil, err
	}
	defer cl.CloseIdleConnections()
	return request[*metadata.Response](ctx, cl, Peer{Broker: AnyBroker}, &metadata.Request{
		TopicNames: append(cfg.mainTopics(), cfg.DeadLetterTopic), IncludeClusterAuthorizedOperations: true, IncludeTopicAuthorizedOperations: true,
	})
}

// leaders tries the addresses that leaders advertise: they may not be those of Config.Brokers, nor be reachable.
func (p *probe) leaders(ctx context.Context, m *metadata.Response) []ProbedAddress {
	leads := map[int32]int{}
	for _, t := range m.Topics {
		for _, part := range t.Partitions {
			leads[part.LeaderID]++
		}
	}
	var addresses []string
	var out []ProbedAddress
	for _, b := range m.Brokers {
		address := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if leads[b.NodeID] == 0 || slices.Contains(p.cfg.Brokers, address) || len(out) == maxProbedLeaders {
			continue
		}
		addresses = append(addresses, address)
		out = append(out, ProbedAddress{Address: address, Advertised: true, Leads: leads[b.NodeID]})
	}
	for i, a := range p.each(ctx, addresses) {
		out[i].Err = a.err
	}
	return out
}

// Numbers of org.apache.kafka.common.acl.AclOperation; an answer has a bit for each.
const (
	operationWrite  = 4
	operationCreate = 5
)

func permission(operations int32, operation int) Permission {
	switch {
	case operations == math.MinInt32 || operations == 0: // not told; a broker before 2.3 leaves the field out
		return PermissionUnknown
	case operations&(1<<operation) != 0:
		return PermissionGranted
	}
	return PermissionDenied
}

// topicOf is what metadata says of a topic.
func topicOf(m *metadata.Response, name string) ProbedTopic {
	i := slices.IndexFunc(m.Topics, func(t metadata.ResponseTopic) bool { return t.Name == name })
	if i < 0 {
		return ProbedTopic{Name: name, Err: kafkago.UnknownTopicOrPartition}
	}
	t := &m.Topics[i]
	out := ProbedTopic{Name: name, Partitions: len(t.Partitions), Write: permission(t.TopicAuthorizedOperations, operationWrite)}
	if t.ErrorCode != 0 {
		out.Err = kafkago.Error(t.ErrorCode)
	}
	for _, p := range t.Partitions {
		if p.LeaderID < 0 || p.ErrorCode == int16(kafkago.LeaderNotAvailable) {
			out.Leaderless++
		}
	}
	return out
}

// produceVersion asks a broker which version of a produce request it takes; -1: it does not tell.
func (c *client) produceVersion(ctx context.Context) int16 {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, err := request[*apiversions.Response](ctx, c, Peer{Broker: AnyBroker}, &apiversions.Request{})
	if err != nil {
		return -1
	}
	for _, k := range r.ApiKeys {
		if protocol.ApiKey(k.ApiKey) == protocol.Produce {
			return k.MaxVersion
		}
	}
	return -1
}

// mayProduce asks for a producer id. A cluster that has just started says for a while that it is not ready.
func (c *client) mayProduce(ctx context.Context) error {
	const pause = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for {
		_, _, err := c.newProducer(ctx, "")
		var code kafkago.Error
		if err == nil || !errors.As(err, &code) || !code.Temporary() {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// describe fills in what the configuration of topics says that exist.
func (c *client) describe(ctx context.Context, m *metadata.Response, topics ...*ProbedTopic) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var req describeconfigs.Request
	for _, t := range topics {
		if t.Err == nil {
			req.Resources = append(req.Resources, describeconfigs.RequestResource{ResourceType: ofTopic, ResourceName: t.Name})
		}
	}
	if len(req.Resources) == 0 {
		return
	}
	r, err := request[*describeconfigs.Response](ctx, c, Peer{Broker: AnyBroker}, &req)
	for _, t := range topics {
		if t.Err != nil {
			continue
		}
		if t.ConfigErr = err; err != nil {
			continue
		}
		t.ConfigErr = errors.New("the broker does not tell")
		for _, res := range r.Resources {
			if res.ResourceName == t.Name {
				if res.ErrorCode != 0 {
					t.ConfigErr = kafkago.Error(res.ErrorCode)
					continue
				}
				t.ConfigErr = nil
				t.configured(res.ConfigEntries)
				t.countInSync(m)
			}
		}
	}
}

func (t *ProbedTopic) configured(entries []describeconfigs.ResponseConfigEntry) {
	millis := func(ms int64) time.Duration {
		if ms > math.MaxInt64/int64(time.Millisecond) {
			return math.MaxInt64
		}
		return time.Duration(ms) * time.Millisecond
	}
	for _, e := range entries {
		n, _ := strconv.ParseInt(e.ConfigValue, 10, 64)
		switch e.ConfigName {
		case "max.message.bytes":
			t.MaxMessageBytes = n
		case "min.insync.replicas":
			t.MinInSync = int(n)
		case "message.timestamp.type":
			t.LogAppendTime = e.ConfigValue == "LogAppendTime"
		case "message.timestamp.before.max.ms":
			t.TimestampBefore = millis(n)
		case "message.timestamp.after.max.ms":
			t.TimestampAfter = millis(n)
		case "message.timestamp.difference.max.ms": // before 3.6 the one bound for both
			if t.TimestampBefore == 0 {
				t.TimestampBefore = millis(n)
			}
			if t.TimestampAfter == 0 {
				t.TimestampAfter = millis(n)
			}
		case "cleanup.policy":
			t.Compacted = strings.Contains(e.ConfigValue, "compact")
		}
	}
}

func (t *ProbedTopic) countInSync(m *metadata.Response) {
	for i := range m.Topics {
		if m.Topics[i].Name != t.Name {
			continue
		}
		for _, p := range m.Topics[i].Partitions {
			if p.LeaderID >= 0 && len(p.IsrNodes) < t.MinInSync {
				t.ShortOfReplicas++
			}
		}
	}
}
