package simkafka_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/deletetopics"
	"github.com/segmentio/kafka-go/protocol/incrementalalterconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/test/simulate/simkafka"
)

// broker is the model or a real one.
type broker interface {
	// ask sends any request but a produce request.
	ask(t *testing.T, req protocol.Message) protocol.Message
	// produce sends one batch for a topic's partition.
	produce(t *testing.T, topic string, partition int32, wire []byte) produce.ResponsePartition
	create(t *testing.T, topic string, settings map[string]string)
	set(t *testing.T, topic, name, value string)
	drop(t *testing.T, topic string)
	// expire sets producer.id.expiration.ms.
	expire(t *testing.T, after time.Duration)
}

// real is one connection to a broker of Apache Kafka, the only one of its cluster.
type real struct{ conn *protocol.Conn }

func dial(t *testing.T, address string) *real {
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	conn := protocol.NewConn(c, "compare")
	conn.SetVersions(map[protocol.ApiKey]int16{
		protocol.Produce: 8, protocol.InitProducerId: 4, protocol.Metadata: 8, protocol.CreateTopics: 5, protocol.DeleteTopics: 3, protocol.IncrementalAlterConfigs: 0,
	})
	return &real{conn}
}

func (r *real) ask(t *testing.T, req protocol.Message) protocol.Message {
	t.Helper()
	if err := r.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	res, err := r.conn.RoundTrip(req)
	if err != nil {
		t.Fatalf("%v: %v", req.ApiKey(), err)
	}
	return res
}

func (r *real) produce(t *testing.T, topic string, partition int32, wire []byte) produce.ResponsePartition {
	t.Helper()
	return onlyOne(t, r.ask(t, request(topic, partition, wire)))
}

func (r *real) create(t *testing.T, topic string, settings map[string]string) {
	t.Helper()
	want := createtopics.RequestTopic{Name: topic, NumPartitions: 1, ReplicationFactor: 1}
	for name, value := range settings {
		want.Configs = append(want.Configs, createtopics.RequestConfig{Name: name, Value: value})
	}
	res := r.ask(t, &createtopics.Request{Topics: []createtopics.RequestTopic{want}, TimeoutMs: 60_000}).(*createtopics.Response)
	if code := res.Topics[0].ErrorCode; code != 0 {
		t.Fatalf("create %s: code %d", topic, code)
	}
	r.await(t, topic, true)
}

// await waits until the broker knows a topic's leader, or the topic no more.
func (r *real) await(t *testing.T, topic string, there bool) {
	t.Helper()
	poll(t, fmt.Sprintf("topic %s there: %v", topic, there), func() bool {
		m := r.ask(t, &metadata.Request{TopicNames: []string{topic}}).(*metadata.Response).Topics[0]
		return (m.ErrorCode == 0 && len(m.Partitions) == 1 && m.Partitions[0].LeaderID >= 0) == there
	})
}

func (r *real) set(t *testing.T, topic, name, value string) {
	t.Helper()
	r.alter(t, 2, topic, name, value)
}

func (r *real) expire(t *testing.T, after time.Duration) {
	t.Helper()
	r.alter(t, 4, "", "producer.id.expiration.ms", strconv.FormatInt(after.Milliseconds(), 10))
}

// alter sets a setting of a topic (2) or of all brokers (4).
func (r *real) alter(t *testing.T, kind int8, resource, name, value string) {
	t.Helper()
	res := r.ask(t, &incrementalalterconfigs.Request{Resources: []incrementalalterconfigs.RequestResource{{
		ResourceType: kind, ResourceName: resource, Configs: []incrementalalterconfigs.RequestConfig{{Name: name, Value: value}},
	}}}).(*incrementalalterconfigs.Response)
	if a := res.Responses[0]; a.ErrorCode != 0 {
		t.Fatalf("set %s of %q: code %d %s", name, resource, a.ErrorCode, a.ErrorMessage)
	}
}

func (r *real) drop(t *testing.T, topic string) {
	t.Helper()
	res := r.ask(t, &deletetopics.Request{TopicNames: []string{topic}, TimeoutMs: 60_000}).(*deletetopics.Response)
	if code := res.Responses[0].ErrorCode; code != 0 {
		t.Fatalf("delete %s: code %d", topic, code)
	}
	r.await(t, topic, false)
}

// model is a modelled cluster with one broker, asked over its transport.
type model struct {
	*simkafka.Cluster
	tr *simkafka.Transport
}

func newModel() *model {
	m := &model{Cluster: simkafka.NewCluster("model", 1, 1)}
	m.tr = simkafka.NewTransport(open{m.Cluster})
	return m
}

// open is a gate that lets every request pass.
type open struct{ c *simkafka.Cluster }

func (o open) Pass(_ context.Context, call *simkafka.Call) (protocol.Message, error) {
	return call.Serve(nil)
}
func (o open) Cluster() *simkafka.Cluster { return o.c }

func (m *model) ask(t *testing.T, req protocol.Message) protocol.Message {
	t.Helper()
	res, err := m.tr.RoundTrip(t.Context(), kafka.Peer{Broker: 0}, req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (m *model) produce(t *testing.T, topic string, partition int32, wire []byte) produce.ResponsePartition {
	t.Helper()
	return onlyOne(t, m.ask(t, request(topic, partition, wire)))
}

func (m *model) create(t *testing.T, topic string, settings map[string]string) {
	m.CreateTopic(topic, 1, simkafka.TopicConfig{})
	for name, value := range settings {
		m.set(t, topic, name, value)
	}
}

func (m *model) set(t *testing.T, topic, name, value string) {
	t.Helper()
	m.Configure(topic, func(c *simkafka.TopicConfig) {
		n, _ := strconv.Atoi(value)
		switch name {
		case "max.message.bytes":
			c.MaxMessageBytes = n
		case "message.timestamp.type":
			c.LogAppendTime = value == "LogAppendTime"
		case "message.timestamp.before.max.ms":
			c.TimestampBefore = time.Duration(n) * time.Millisecond
		case "message.timestamp.after.max.ms":
			c.TimestampAfter = time.Duration(n) * time.Millisecond
		case "cleanup.policy":
			c.Refuse = nil
			if value == "compact" {
				c.Refuse = func(key, _ []byte) bool { return key == nil }
			}
		default:
			t.Fatalf("the model does not know %s", name)
		}
	})
}

func (m *model) drop(_ *testing.T, topic string)          { m.DeleteTopic(topic) }
func (m *model) expire(_ *testing.T, after time.Duration) { m.Expiry = after }

func request(topic string, partition int32, wire []byte) *rawproduce.Request {
	return &rawproduce.Request{Acks: -1, Timeout: 30_000, Topics: []rawproduce.RequestTopic{{
		Topic: topic, Partitions: []rawproduce.RequestPartition{{
			Partition: partition, RecordSet: protocol.RawRecordSet{Reader: strings.NewReader(string(wire))},
		}},
	}}}
}

func onlyOne(t *testing.T, res protocol.Message) produce.ResponsePartition {
	t.Helper()
	p, ok := res.(*produce.Response)
	if !ok || len(p.Topics) != 1 || len(p.Topics[0].Partitions) != 1 {
		t.Fatalf("an answer about one batch is %+v", res)
	}
	return p.Topics[0].Partitions[0]
}

func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
