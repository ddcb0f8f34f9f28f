package simkafka

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"functiongraph-ingest/pkg/sink/kafka"
)

// Gate decides what becomes of requests.
type Gate interface {
	// Pass carries a request to its broker and its answer back, or fails. It may block, and must return when ctx
	// ends; the request may arrive later all the same.
	Pass(ctx context.Context, call *Call) (protocol.Message, error)
	// Cluster is the one that the configured addresses lead to now.
	Cluster() *Cluster
}

// Call is one request on its way.
type Call struct {
	Cluster *Cluster
	Broker  int32 // it is for this one; -1: for any
	Request protocol.Message
	Batches []Sent // of a produce request
}

// Sent is one batch of a produce request. Its bytes are a copy: what the client does with its own does not matter
// any more.
type Sent struct {
	Topic     string
	Partition int32
	Batch     Batch
}

// Transport stands where the connections to a cluster stand: one to each broker, which leads to the cluster that the
// addresses led to when it was made. It is made by the first request, and anew after one that failed.
type Transport struct {
	gate Gate

	mu    sync.Mutex
	conns map[int32]*Cluster // by broker
}

// NewTransport returns a transport without connections.
func NewTransport(g Gate) *Transport { return &Transport{gate: g, conns: map[int32]*Cluster{}} }

// CloseIdleConnections makes the next requests connect anew.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.conns)
}

// RoundTrip implements kafka.Transport.
func (t *Transport) RoundTrip(ctx context.Context, to kafka.Peer, req protocol.Message) (protocol.Message, error) {
	call := &Call{Cluster: t.connect(to, req), Broker: to.Broker, Request: req}
	if to.Cluster != "" && to.Cluster != call.Cluster.ID {
		return nil, kafka.ErrOtherCluster
	}
	if r, ok := req.(*rawproduce.Request); ok {
		if err := call.copyBatches(r); err != nil {
			return nil, err
		}
	}
	res, err := t.gate.Pass(ctx, call)
	if err != nil {
		t.broken(to.Broker, call.Cluster)
	}
	return res, err
}

// connect returns the cluster that the connection to a broker leads to. Metadata is asked for over a new one.
func (t *Transport) connect(to kafka.Peer, req protocol.Message) *Cluster {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[to.Broker]
	_, look := req.(*metadata.Request)
	if c == nil || look || to.Cluster != "" && to.Cluster != c.ID {
		c = t.gate.Cluster()
		t.conns[to.Broker] = c
	}
	return c
}

func (t *Transport) broken(broker int32, c *Cluster) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns[broker] == c {
		delete(t.conns, broker)
	}
}

// copyBatches reads the batches of a produce request.
func (c *Call) copyBatches(r *rawproduce.Request) error {
	for i := range r.Topics {
		for _, p := range r.Topics[i].Partitions {
			wire, err := io.ReadAll(p.RecordSet.Reader)
			if err != nil {
				return err
			}
			batch, ok := ParseBatch(wire)
			if !ok {
				return fmt.Errorf("simkafka: %d bytes are no batch", len(wire))
			}
			c.Batches = append(c.Batches, Sent{r.Topics[i].Topic, p.Partition, batch})
		}
	}
	return nil
}

// Serve lets a call arrive and returns the broker's answer. Codes, when not nil, is asked for each batch of a produce
// request: before is answered in place of appending the batch, after is answered although it was appended; 0 is neither.
func (c *Call) Serve(codes func(*Sent) (before, after int16)) (protocol.Message, error) {
	if c.Batches == nil {
		return c.Cluster.answer(c.Request), nil
	}
	if !c.Cluster.Up(c.Broker) {
		return nil, ErrDown
	}
	res := &produce.Response{}
	for i := range c.Batches {
		s := &c.Batches[i]
		var before, after int16
		if codes != nil {
			before, after = codes(s)
		}
		r := refused(before)
		if before == CodeOK {
			if r = c.Cluster.Append(c.Broker, s.Topic, s.Partition, &s.Batch); r.Code == CodeOK && after != CodeOK {
				r = refused(after)
			}
		}
		if n := len(res.Topics); n == 0 || res.Topics[n-1].Topic != s.Topic {
			res.Topics = append(res.Topics, produce.ResponseTopic{Topic: s.Topic})
		}
		rt := &res.Topics[len(res.Topics)-1]
		rp := produce.ResponsePartition{Partition: s.Partition, ErrorCode: r.Code, BaseOffset: r.Offset, LogAppendTime: r.AppendTime}
		for _, n := range r.Named {
			rp.RecordErrors = append(rp.RecordErrors, produce.ResponseError{BatchIndex: int32(n)})
		}
		rt.Partitions = append(rt.Partitions, rp)
	}
	return res, nil
}
