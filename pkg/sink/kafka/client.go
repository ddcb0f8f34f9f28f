package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"functiongraph-ingest/pkg/sink/kafka/internal/wire"
)

// AnyBroker in place of a broker's id stands for whichever answers first.
const AnyBroker int32 = -1

// Peer says where a request goes.
type Peer struct {
	Broker int32 // its id, or [AnyBroker]
	// Cluster is the id of the cluster that the request belongs to, "" when any may have it. Producer ids begin at 0 in
	// every cluster, so another cluster takes a stamp of this one for that of a producer of its own.
	Cluster string
}

// ErrOtherCluster is returned for a request that was not sent because a broker of another cluster answers at the address.
var ErrOtherCluster = errors.New("a broker of another Kafka cluster answers at this address")

// Transport carries single requests to the cluster's brokers. The sink's own one is over TCP (see network); a
// simulation of a cluster is another.
type Transport interface {
	// RoundTrip sends a request of kafka-go's to one broker, or to [AnyBroker], and returns the answer. When it has
	// returned, nothing reads the request any more. Brokers are those of the last metadata answer. With a cluster in
	// to, the connection was made to a broker of it, or to one that tells no cluster id; else the error is
	// [ErrOtherCluster].
	RoundTrip(ctx context.Context, to Peer, req protocol.Message) (protocol.Message, error)
	// CloseIdleConnections makes later requests use new connections. Requests under way are not harmed.
	CloseIdleConnections()
}

// client is what the sink asks of a cluster: a few requests, over a Transport.
type client struct {
	Transport
	topics     []string
	timeout    time.Duration
	controller int32 // of the last metadata answer; the steward's
}

func newClient(c *Config, d *Deps) (*client, error) {
	cl := &client{topics: append(c.mainTopics(), c.DeadLetterTopic), timeout: c.RequestTimeout, controller: AnyBroker}
	if d.NewTransport != nil {
		cl.Transport = d.NewTransport()
		return cl, nil
	}
	n, err := newNetwork(c, d)
	cl.Transport = n
	return cl, err
}

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
	return nil, fmt.Errorf("kafka: SASL mechanism %q is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER", s.Mechanism)
}

// scramMechanism leaves the library's error out: it names the character, which may be one of the password.
func scramMechanism(algo scram.Algorithm, s SASL) (sasl.Mechanism, error) {
	m, err := scram.Mechanism(algo, s.User, s.Password)
	if err != nil {
		return nil, errors.New("kafka: the SASL user or password has a character that SCRAM does not allow, for example a control character")
	}
	return m, nil
}

// request sends a request and returns its answer, of type R.
func request[R protocol.Message](ctx context.Context, c *client, to Peer, req protocol.Message) (R, error) {
	m, err := c.RoundTrip(ctx, to, req)
	res, ok := m.(R)
	if err == nil && !ok {
		err = fmt.Errorf("kafka: unexpected answer %T to a request %T", m, req)
	}
	return res, err
}

// produce sends one request to a broker and returns its answer.
func (c *client) produce(ctx context.Context, to Peer, req *rawproduce.Request) (*produce.Response, error) {
	return request[*produce.Response](ctx, c, to, req)
}

// newProducer asks a cluster for a producer id.
func (c *client) newProducer(ctx context.Context, cluster string) (id int64, epoch int16, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := request[*initproducerid.Response](ctx, c, Peer{AnyBroker, cluster}, &initproducerid.Request{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return 0, 0, err
	}
	if res.ErrorCode != 0 {
		return 0, 0, kafkago.Error(res.ErrorCode)
	}
	if res.ProducerID < 0 || res.ProducerEpoch < 0 {
		return 0, 0, fmt.Errorf("%w: one gives the id %d with epoch %d", errNoProducerIDs, res.ProducerID, res.ProducerEpoch)
	}
	return res.ProducerID, res.ProducerEpoch, nil
}

// metadata asks for the cluster's layout.
func (c *client) metadata(ctx context.Context) (layout, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := request[*metadata.Response](ctx, c, Peer{Broker: AnyBroker}, &metadata.Request{TopicNames: c.topics})
	if err != nil {
		return layout{}, err
	}
	if err := credible(res); err != nil {
		return layout{}, err
	}
	l := layoutOf(res, c.topics)
	c.controller = l.controller
	if _, known := l.brokers[l.controller]; !known {
		c.controller = AnyBroker
	}
	return l, nil
}

// createTopic creates a topic. It is no error when it exists by now.
func (c *client) createTopic(ctx context.Context, name string, partitions, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := request[*createtopics.Response](ctx, c, Peer{Broker: c.controller}, &createtopics.Request{
		Topics:    []createtopics.RequestTopic{{Name: name, NumPartitions: int32(partitions), ReplicationFactor: int16(replicas)}},
		TimeoutMs: int32((c.timeout / 2).Milliseconds()),
	})
	if err != nil {
		return err
	}
	for i := range res.Topics {
		if t := &res.Topics[i]; t.ErrorCode != 0 && !errors.Is(kafkago.Error(t.ErrorCode), kafkago.TopicAlreadyExists) {
			if t.ErrorMessage != "" {
				return fmt.Errorf("%w: %.300s", kafkago.Error(t.ErrorCode), t.ErrorMessage)
			}
			return kafkago.Error(t.ErrorCode)
		}
	}
	return nil
}

// brokerSettings asks a broker for settings of its own. Those that it does not tell are missing.
func (c *client) brokerSettings(ctx context.Context, to Peer, names ...string) (map[string]string, error) {
	return c.settings(ctx, to, ofBroker, strconv.Itoa(int(to.Broker)), names...)
}

// topicConfig asks a cluster for a topic's setting; "" when the brokers do not tell, an error when none answers or it
// cannot tell now.
func (c *client) topicConfig(ctx context.Context, cluster, topic, name string) (string, error) {
	settings, err := c.settings(ctx, Peer{AnyBroker, cluster}, ofTopic, topic, name)
	return settings[name], err
}

// Whose setting is asked for (DescribeConfigs, resource type).
const (
	ofTopic  = 2
	ofBroker = 4
)

// settings asks a broker for settings. Those that it does not tell, to anybody or to this client, are missing.
func (c *client) settings(ctx context.Context, to Peer, kind int8, resource string, names ...string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := request[*describeconfigs.Response](ctx, c, to, &describeconfigs.Request{Resources: []describeconfigs.RequestResource{
		{ResourceType: kind, ResourceName: resource, ConfigNames: names},
	}})
	told := map[string]string{}
	if errors.Is(err, wire.ErrUnknownRequest) {
		return told, nil
	}
	if err != nil {
		return nil, err
	}
	for _, r := range res.Resources {
		if c, known := classOf(r.ErrorCode, false); known && c != classOK && c != classConfig {
			return nil, kafkago.Error(r.ErrorCode) // it passes, and another answer may come later
		}
		for _, e := range r.ConfigEntries {
			if slices.Contains(names, e.ConfigName) {
				told[e.ConfigName] = e.ConfigValue
			}
		}
	}
	return told, nil
}
