package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"functiongraph-ingest/pkg/rawconn"
)

// client is what the sink needs of kafka-go: its Transport (connections, routing, TLS, SASL) and a few
// requests. Its Writer is not used: it cannot produce idempotently and goes on sending after its
// context is dead.
type client struct {
	addr      net.Addr
	transport Transport
	api       kafkago.Client
	topics    []string
	timeout   time.Duration
}

// Transport carries single requests to the cluster's brokers: it picks the broker, and answers metadata
// requests from what it has cached since it was made or since its idle connections were closed.
// *kafkago.Transport is the one over the network; a simulation of a cluster is another.
type Transport interface {
	kafkago.RoundTripper
	// CloseIdleConnections drops the cached metadata too. Requests under way are not harmed.
	CloseIdleConnections()
}

func newClient(c *Config, d *Deps) (*client, error) {
	newTransport := d.NewTransport
	if newTransport == nil {
		mech, err := newLogin(c.SASL, d.Credentials)
		if err != nil {
			return nil, err
		}
		newTransport = func() Transport { return overNetwork(c, d, mech) }
	}
	cl := &client{addr: kafkago.TCP(c.Brokers...), topics: []string{c.Topic, c.DeadLetterTopic}, timeout: c.RequestTimeout}
	cl.transport = newTransport()
	cl.api = kafkago.Client{Addr: cl.addr, Transport: cl.transport, Timeout: c.RequestTimeout}
	return cl, nil
}

// overNetwork is a transport with connections of its own.
func overNetwork(c *Config, d *Deps, mech sasl.Mechanism) *kafkago.Transport {
	dial := d.Dial
	if dial == nil {
		// An instance that was frozen wakes up with dead connections: find out within 30 s even when
		// no request is waiting on them.
		dial = (&rawconn.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
		}}).DialContext
	}
	if d.Secure != nil {
		dial = secured(dial, d.Secure)
	}
	return &kafkago.Transport{
		Dial: dial, DialTimeout: c.RequestTimeout, IdleTimeout: 5 * time.Minute, ClientID: c.ClientID,
		MetadataTTL:    c.MetadataTTL,                        // kafka-go polls at random intervals below this
		MetadataTopics: []string{c.Topic, c.DeadLetterTopic}, // else it asks for every topic of the cluster
		SASL:           mech,
	}
}

// secured dials and then makes a TLS connection of it. kafka-go could do the second part, but it does not know which
// address failed, nor how to read its certificates again.
func secured(dial dialFunc, secure func(context.Context, net.Conn, string) (net.Conn, error)) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c, err := secure(ctx, raw, address)
		if err != nil {
			_ = raw.Close()
			return nil, err
		}
		return c, nil
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func mechanism(s SASL) (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "":
		return nil, nil
	case "PLAIN":
		return plain.Mechanism{Username: s.User, Password: s.Password}, nil
	case "SCRAM-SHA-256":
		return scramMechanism(scram.SHA256, s)
	case "SCRAM-SHA-512":
		return scramMechanism(scram.SHA512, s)
	}
	return nil, fmt.Errorf("kafka: SASL mechanism %q is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", s.Mechanism)
}

// scramMechanism leaves the library's error out: it names the character, which may be one of the password.
func scramMechanism(algo scram.Algorithm, s SASL) (sasl.Mechanism, error) {
	m, err := scram.Mechanism(algo, s.User, s.Password)
	if err != nil {
		return nil, errors.New("kafka: the SASL user or password has a character that SCRAM does not allow, for example a control character")
	}
	return m, nil
}

// produce sends one request and returns its answer. Every partition in it must have the same leader.
func (c *client) produce(ctx context.Context, req *rawproduce.Request) (*produce.Response, error) {
	r, err := c.transport.RoundTrip(ctx, c.addr, req)
	if err != nil {
		return nil, err
	}
	res, ok := r.(*produce.Response)
	if !ok {
		return nil, fmt.Errorf("kafka: unexpected answer %T to a produce request", r)
	}
	return res, nil
}

// initProducerID is kafka-go's request under a type of our own. kafka-go takes its own type for a
// transactional message even without a transaction and asks for a coordinator first, which creates the
// internal topic __transaction_state on a cluster that has none. This one goes to any broker.
type initProducerID initproducerid.Request

func (*initProducerID) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

// newProducer asks for a producer id.
func (c *client) newProducer(ctx context.Context) (id int64, epoch int16, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, err := c.transport.RoundTrip(ctx, c.addr, &initProducerID{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return 0, 0, err
	}
	res, ok := r.(*initproducerid.Response)
	if !ok {
		return 0, 0, fmt.Errorf("kafka: unexpected answer %T to InitProducerId", r)
	}
	if res.ErrorCode != 0 {
		return 0, 0, kafkago.Error(res.ErrorCode)
	}
	return res.ProducerID, res.ProducerEpoch, nil
}

// leaders is one topic's leaders by partition; -1 where there is none.
type leaders struct {
	err     error // the topic cannot be used: why
	brokers []int32
}

// layout is what one metadata answer tells about the cluster.
type layout struct {
	clusterID string             // "" from brokers that have none (before Kafka 0.10.1)
	topics    map[string]leaders // of our topics, by name
	brokers   int
}

// metadata reads the cluster's state from kafka-go's cache, so it agrees with how kafka-go routes.
func (c *client) metadata(ctx context.Context) (layout, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	m, err := c.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: c.topics})
	if err != nil {
		return layout{}, err
	}
	known := make(map[int]bool, len(m.Brokers))
	for _, b := range m.Brokers {
		known[b.ID] = true
	}
	out := layout{clusterID: m.ClusterID, topics: make(map[string]leaders, len(m.Topics)), brokers: len(m.Brokers)}
	for _, t := range m.Topics {
		l := leaders{err: t.Error}
		for _, p := range t.Partitions {
			// An answer lists every partition of a topic. An index outside of the list is no partition.
			if p.ID < 0 || p.ID >= len(t.Partitions) {
				return layout{}, fmt.Errorf("the answer names partition %d of topic %q and lists %d partitions: no Kafka broker answers so", p.ID, t.Name, len(t.Partitions))
			}
			for len(l.brokers) <= p.ID {
				l.brokers = append(l.brokers, -1)
			}
			// A partition without a leader carries the zero Broker, whose ID may be a real broker's.
			if p.Leader.Host != "" && known[p.Leader.ID] {
				l.brokers[p.ID] = int32(p.Leader.ID)
			}
		}
		out.topics[t.Name] = l
	}
	return out, nil
}

// refresh makes the next request learn the leaders anew. kafka-go does not ask again after "not
// leader"; dropping its pool is the public way to force it. Requests under way are not harmed.
func (c *client) refresh() { c.transport.CloseIdleConnections() }

// createTopic creates a topic. It is no error when it exists by now.
func (c *client) createTopic(ctx context.Context, name string, partitions, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, err := c.api.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{
		{Topic: name, NumPartitions: partitions, ReplicationFactor: replicas},
	}})
	if err != nil {
		return err
	}
	if err := r.Errors[name]; err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
		return err
	}
	return nil
}

// producerExpiry asks how long the brokers remember a producer; 0 when they do not tell.
func (c *client) producerExpiry(ctx context.Context, broker int32) time.Duration {
	v, _ := c.config(ctx, kafkago.ResourceTypeBroker, strconv.Itoa(int(broker)), "producer.id.expiration.ms")
	ms, _ := strconv.ParseInt(v, 10, 64)
	return time.Duration(ms) * time.Millisecond
}

// topicConfig asks for a topic's setting; "" when the brokers do not tell, an error when none answers.
func (c *client) topicConfig(ctx context.Context, topic, name string) (string, error) {
	return c.config(ctx, kafkago.ResourceTypeTopic, topic, name)
}

func (c *client) config(ctx context.Context, kind kafkago.ResourceType, resource, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, err := c.api.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{
		{ResourceType: kind, ResourceName: resource, ConfigNames: []string{name}},
	}})
	if err != nil {
		return "", err
	}
	for _, res := range r.Resources {
		for _, e := range res.ConfigEntries {
			if e.ConfigName == name {
				return e.ConfigValue, nil
			}
		}
	}
	return "", nil
}
