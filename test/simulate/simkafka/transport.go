package simkafka

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
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

// Transport stands where kafka-go's stands: it keeps the metadata that it got, picks brokers by it, and asks again after
// CloseIdleConnections.
type Transport struct {
	gate Gate

	mu      sync.Mutex
	cluster *Cluster // of layout; another one may have its addresses by now
	known   *metadata.Response
	asked   time.Time
	ttl     time.Duration
}

// NewTransport returns a transport that knows nothing yet, and asks again after ttl.
func NewTransport(g Gate, ttl time.Duration) *Transport { return &Transport{gate: g, ttl: ttl} }

// CloseIdleConnections forgets the metadata.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.cluster = nil, nil
}

// Refresh looks at the cluster in the background, as kafka-go does now and then.
func (t *Transport) Refresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		return
	}
	var names []string
	for i := range t.known.Topics {
		names = append(names, t.known.Topics[i].Name)
	}
	t.known = t.cluster.metadata(names)
}

// RoundTrip implements kafka-go's RoundTripper.
func (t *Transport) RoundTrip(ctx context.Context, _ net.Addr, req protocol.Message) (protocol.Message, error) {
	names := []string{}
	if m, ok := req.(*metadata.Request); ok {
		names = m.TopicNames
	}
	if p, ok := req.(*rawproduce.Request); ok {
		for i := range p.Topics {
			names = append(names, p.Topics[i].Topic)
		}
	}
	cluster, known, err := t.look(ctx, names)
	if err != nil {
		return nil, err
	}
	switch r := req.(type) {
	case *metadata.Request:
		return known, nil
	case *rawproduce.Request:
		return t.produce(ctx, cluster, known, r)
	}
	return t.gate.Pass(ctx, &Call{Cluster: cluster, Broker: -1, Request: req})
}

// look returns the metadata that is known, or asks for it.
func (t *Transport) look(ctx context.Context, names []string) (*Cluster, *metadata.Response, error) {
	t.mu.Lock()
	cluster, known, fresh := t.cluster, t.known, time.Since(t.asked) < t.ttl
	t.mu.Unlock()
	if known != nil && fresh && knowsAll(known, names) {
		return cluster, known, nil
	}
	cluster = t.gate.Cluster()
	m, err := t.gate.Pass(ctx, &Call{Cluster: cluster, Broker: -1, Request: &metadata.Request{TopicNames: names}})
	if err != nil {
		return nil, nil, err
	}
	known = m.(*metadata.Response)
	t.mu.Lock()
	t.cluster, t.known, t.asked = cluster, known, time.Now()
	t.mu.Unlock()
	return cluster, known, nil
}

func knowsAll(known *metadata.Response, names []string) bool {
	for _, name := range names {
		found := false
		for i := range known.Topics {
			found = found || known.Topics[i].Name == name
		}
		if !found {
			return false
		}
	}
	return true
}

// produce sends to the one leader of all partitions in the request, as kafka-go does.
func (t *Transport) produce(ctx context.Context, c *Cluster, known *metadata.Response, r *rawproduce.Request) (protocol.Message, error) {
	b, err := r.Broker(layout(known))
	if err != nil {
		return nil, err
	}
	call := &Call{Cluster: c, Broker: b.ID, Request: r}
	for i := range r.Topics {
		for _, p := range r.Topics[i].Partitions {
			wire, err := io.ReadAll(p.RecordSet.Reader)
			if err != nil {
				return nil, err
			}
			batch, ok := ParseBatch(wire)
			if !ok {
				return nil, fmt.Errorf("simkafka: %d bytes are no batch", len(wire))
			}
			call.Batches = append(call.Batches, Sent{r.Topics[i].Topic, p.Partition, batch})
		}
	}
	return t.gate.Pass(ctx, call)
}

// layout is kafka-go's makeLayout.
func layout(m *metadata.Response) protocol.Cluster {
	l := protocol.Cluster{ClusterID: m.ClusterID, Controller: m.ControllerID, Brokers: map[int32]protocol.Broker{}, Topics: map[string]protocol.Topic{}}
	for _, b := range m.Brokers {
		l.Brokers[b.NodeID] = protocol.Broker{ID: b.NodeID, Host: b.Host, Port: b.Port}
	}
	for _, t := range m.Topics {
		pt := protocol.Topic{Name: t.Name, Error: t.ErrorCode, Partitions: map[int32]protocol.Partition{}}
		for _, p := range t.Partitions {
			pt.Partitions[p.PartitionIndex] = protocol.Partition{ID: p.PartitionIndex, Error: p.ErrorCode, Leader: p.LeaderID}
		}
		l.Topics[t.Name] = pt
	}
	return l
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
		rt.Partitions = append(rt.Partitions, produce.ResponsePartition{
			Partition: s.Partition, ErrorCode: r.Code, BaseOffset: r.Offset, LogAppendTime: r.AppendTime,
		})
	}
	return res, nil
}
