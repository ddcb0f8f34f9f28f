// Package hostile has listeners that sit at a broker's address and are none, or answer as no broker does.
package hostile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
)

// Broker is a listener. Its connections end with the test.
type Broker struct {
	Addr     string
	topic    string
	listener net.Listener
	requests atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  bool
	tasks sync.WaitGroup
}

// Listen starts a listener that behaves as the mode says, at a port of its own when addr is "127.0.0.1:0". Its honest
// answers know one topic with a partition.
func Listen(tb testing.TB, addr, topic string, m Mode) *Broker {
	tb.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	b := &Broker{Addr: l.Addr().String(), topic: topic, listener: l, conns: map[net.Conn]bool{}}
	b.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns[c] = true
			if b.done {
				_ = c.Close()
			}
			b.mu.Unlock()
			b.tasks.Go(func() { b.serve(c, m) })
		}
	})
	tb.Cleanup(b.Close)
	return b
}

// Close ends the listener and its connections.
func (b *Broker) Close() {
	_ = b.listener.Close()
	b.mu.Lock()
	b.done = true
	for c := range b.conns {
		_ = c.Close()
	}
	b.mu.Unlock()
	b.tasks.Wait()
}

// Requests is how many requests have arrived.
func (b *Broker) Requests() int64 { return b.requests.Load() }

// Open is how many connections there are.
func (b *Broker) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

func (b *Broker) serve(c net.Conn, m Mode) {
	defer func() {
		_ = c.Close()
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
	}()
	if m.Banner != "" {
		_, _ = c.Write([]byte(m.Banner))
	}
	r := bufio.NewReader(c)
	for {
		req, err := read(r)
		if err != nil {
			return
		}
		b.requests.Add(1)
		if m.Silent {
			continue
		}
		if m.First != "" {
			_, _ = c.Write([]byte(m.First))
			return
		}
		honest, err := b.honest(req)
		if err != nil {
			return
		}
		if m.Answer != nil && (req.key == m.To || m.ToAll) {
			if err := m.Answer(c, req, honest); err != nil {
				return
			}
		} else if _, err := c.Write(honest); err != nil {
			return
		}
	}
}

// Request is what arrived.
type Request struct {
	key     protocol.ApiKey
	version int16
	id      int32
	body    []byte // the whole frame
}

// read reads a request's frame.
func read(r io.Reader) (Request, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Request{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 8 || n > 16<<20 {
		return Request{}, errors.New("no request")
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return Request{}, err
	}
	return Request{
		protocol.ApiKey(binary.BigEndian.Uint16(body)), int16(binary.BigEndian.Uint16(body[2:])),
		int32(binary.BigEndian.Uint32(body[4:])), append(head[:], body...),
	}, nil
}

// honest is what a broker answers.
func (b *Broker) honest(req Request) ([]byte, error) {
	var m protocol.Message
	switch req.key {
	case protocol.ApiVersions:
		res := &apiversions.Response{}
		for _, k := range []protocol.ApiKey{
			protocol.Produce, protocol.Metadata, protocol.SaslHandshake, protocol.ApiVersions, protocol.CreateTopics,
			protocol.InitProducerId, protocol.DescribeConfigs, protocol.SaslAuthenticate,
		} {
			res.ApiKeys = append(res.ApiKeys, apiversions.ApiKeyResponse{ApiKey: int16(k), MinVersion: k.MinVersion(), MaxVersion: k.MaxVersion()})
		}
		m = res
	case protocol.Metadata:
		m = b.metadata()
	case protocol.InitProducerId:
		m = &initproducerid.Response{ProducerID: 1}
	case protocol.Produce:
		m = &produce.Response{Topics: []produce.ResponseTopic{{Topic: b.topic, Partitions: []produce.ResponsePartition{{LogAppendTime: -1}}}}}
	case protocol.CreateTopics:
		m = &createtopics.Response{Topics: []createtopics.ResponseTopic{{Name: b.topic, ErrorCode: 36}}}
	case protocol.DescribeConfigs:
		m = &describeconfigs.Response{}
	case protocol.SaslHandshake:
		m = &saslhandshake.Response{Mechanisms: []string{"PLAIN", "SCRAM-SHA-512"}}
	case protocol.SaslAuthenticate:
		m = &saslauthenticate.Response{}
	default:
		return nil, errors.New("unknown request")
	}
	return encode(req, m), nil
}

func (b *Broker) metadata() *metadata.Response {
	host, port, _ := net.SplitHostPort(b.Addr)
	return &metadata.Response{
		ClusterID: "hostile", ControllerID: 1,
		Brokers: []metadata.ResponseBroker{{NodeID: 1, Host: host, Port: number(port)}},
		Topics:  []metadata.ResponseTopic{{Name: b.topic, Partitions: []metadata.ResponsePartition{{PartitionIndex: 0, LeaderID: 1}}}},
	}
}

func number(s string) (n int32) {
	for _, c := range s {
		n = 10*n + c - '0'
	}
	return n
}

// encode makes a frame that answers req.
func encode(req Request, m protocol.Message) []byte {
	var b bytes.Buffer
	if err := protocol.WriteResponse(&b, req.version, req.id, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}
