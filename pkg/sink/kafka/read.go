package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/internal/wire"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Consumed is a record as it stands in a topic.
type Consumed struct {
	sink.Record // Headers are valid until yield returns; everything else may be kept
	Partition   int32
	At          int64 // offset
}

// Time is the record's timestamp. Producers may write anything: it is the nearest time of the years 1970 to 9999, which is
// what RFC 3339 and JSON know.
func (c *Consumed) Time() time.Time {
	const least, most = 0, 253402300799999
	return time.UnixMilli(min(max(c.Timestamp, least), most)).UTC()
}

// Query says what of a topic is read.
type Query struct {
	Topic string
	// Since and Until bound the timestamps, which are those of the records or the brokers'; zero: from the beginning, to
	// what is there at the start.
	Since, Until time.Time
	// Offsets of single partitions, in place of Since and Until: from the first one up to, not including, the second; -1: to the
	// end. Other partitions are read as without it.
	Offsets map[int32][2]int64
	// Progress hears how many offsets of how many are behind; nil: it is not reported.
	Progress func(done, total int64)
}

// Span is what was read of a partition: offsets from First up to, not including, End.
type Span struct {
	Partition  int32
	First, End int64
	Start      int64 // the oldest offset that the topic still has
	Latest     int64 // behind its youngest one
}

// Read reads a topic as far as it is at the start, one partition after another, each from a leader of it, and passes the
// records to yield, which may end it by an error. It uses no consumer group and commits nothing. Answers of
// brokers are at most maxFetch each, or one batch; no more than two are in memory. A leader that moves, and a broker
// that does not answer, are tried again for a minute. ErrNoTopic: the topic does not exist.
func Read(ctx context.Context, cfg Config, deps Deps, q Query, yield func(*Consumed) error) ([]Span, error) {
	cfg.setDefaults()
	cfg.Topic, cfg.MoreTopics = q.Topic, nil
	n, err := newNetwork(&cfg, &deps)
	if err != nil {
		return nil, err
	}
	r := &topicReader{network: n, client: &client{Transport: n, topics: []string{q.Topic}, timeout: cfg.RequestTimeout, controller: AnyBroker}, topic: q.Topic, timeout: cfg.RequestTimeout}
	defer r.close()
	spans, err := r.spans(ctx, q)
	if err != nil {
		return nil, err
	}
	var done, total int64
	for _, s := range spans {
		total += s.End - s.First
	}
	for _, s := range spans {
		for at := s.First; at < s.End; {
			next, err := r.fetch(ctx, s.Partition, at, s.End, yield)
			if err != nil {
				return spans, fmt.Errorf("partition %d at offset %d: %w", s.Partition, at, err)
			}
			done += min(next, s.End) - at
			at = next
			if q.Progress != nil {
				q.Progress(done, total)
			}
		}
	}
	return spans, nil
}

// ErrNoTopic is returned for a topic that does not exist.
var ErrNoTopic = errors.New("the topic does not exist")

const (
	maxFetch    = 1 << 20   // of one answer; a broker returns one batch at least, whatever its size
	maxAnswer   = 128 << 20 // no topic has larger batches
	maxRecords  = 64 << 20  // of a batch that anybody may have written
	readAgain   = time.Minute
	readPause   = 100 * time.Millisecond
	fetchV      = 4 // the oldest version that Kafka 4 knows, and that has format 2
	listOffsetV = 1
)

// topicReader asks the leaders of one topic.
type topicReader struct {
	network *network
	client  *client
	topic   string
	timeout time.Duration

	layout layout
	conn   *wire.Conn // to broker; nil: none
	broker int32
}

func (r *topicReader) close() {
	r.hangUp()
	r.client.CloseIdleConnections()
}

func (r *topicReader) hangUp() {
	if r.conn != nil {
		_ = r.conn.Close()
		r.conn = nil
	}
}

// spans finds out what there is to be read.
func (r *topicReader) spans(ctx context.Context, q Query) ([]Span, error) {
	var partitions int
	err := r.patiently(ctx, func() error {
		l, err := r.client.metadata(ctx)
		if err != nil {
			return err
		}
		t := l.topics[r.topic]
		if IsMissing(t.err) || t.err == nil && len(t.brokers) == 0 {
			return fmt.Errorf("%q: %w", r.topic, ErrNoTopic)
		}
		r.layout, partitions = l, len(t.brokers)
		return t.err
	})
	if err != nil {
		return nil, err
	}
	for p := range q.Offsets {
		if p < 0 || int(p) >= partitions {
			return nil, fmt.Errorf("topic %q has no partition %d, it has %d", r.topic, p, partitions)
		}
	}
	const earliest, latest = -2, -1
	var spans []Span
	for p := range int32(partitions) {
		s := Span{Partition: p}
		given, ok := q.Offsets[p]
		start, err := r.offset(ctx, p, earliest)
		if err != nil {
			return nil, err
		}
		end, err := r.offset(ctx, p, latest)
		if err != nil {
			return nil, err
		}
		s.Start, s.First, s.End, s.Latest = start, start, end, end
		if ok {
			s.First = given[0]
			if given[1] >= 0 {
				s.End = given[1]
			}
		} else {
			if !q.Since.IsZero() {
				if s.First, err = r.offset(ctx, p, q.Since.UnixMilli()); err != nil {
					return nil, err
				}
			}
			if !q.Until.IsZero() {
				if s.End, err = r.offset(ctx, p, q.Until.UnixMilli()); err != nil {
					return nil, err
				}
			}
		}
		orEnd := func(offset int64) int64 { // -1: nothing is as young
			if offset < 0 {
				return end
			}
			return min(offset, end)
		}
		s.First, s.End = max(orEnd(s.First), start), orEnd(s.End)
		s.End = max(s.End, s.First)
		spans = append(spans, s)
	}
	return spans, nil
}

// offset asks for the first offset of a time, in milliseconds.
func (r *topicReader) offset(ctx context.Context, p int32, ms int64) (offset int64, err error) {
	be := binary.BigEndian
	body := be.AppendUint32(nil, math.MaxUint32) // no replica
	body = r.onePartition(body, p)
	body = be.AppendUint64(body, uint64(ms))
	err = r.patiently(ctx, func() error {
		a, err := r.ask(ctx, p, protocol.ListOffsets, listOffsetV, body)
		if err != nil {
			return err
		}
		code := a.partition(r.topic, p)
		a.bytes(8) // the time
		offset = int64(a.uint64())
		return a.end(code)
	})
	return offset, err
}

// fetch passes the records from at on to yield, at most those before end, and returns where the next ones are.
func (r *topicReader) fetch(ctx context.Context, p int32, at, end int64, yield func(*Consumed) error) (next int64, err error) {
	be := binary.BigEndian
	body := be.AppendUint32(nil, math.MaxUint32) // no replica
	body = be.AppendUint32(body, uint32((r.timeout / 2).Milliseconds()))
	body = be.AppendUint32(body, 1)
	body = append(be.AppendUint32(body, maxFetch), 0) // isolation: none
	body = r.onePartition(body, p)
	body = be.AppendUint64(body, uint64(at))
	body = be.AppendUint32(body, maxFetch)
	var data []byte
	err = r.patiently(ctx, func() error {
		a, err := r.ask(ctx, p, protocol.Fetch, fetchV, body)
		if err != nil {
			return err
		}
		a.bytes(4) // throttle
		code := a.partition(r.topic, p)
		a.bytes(8 + 8) // high watermark, last stable offset
		if n := int32(a.uint32()); n > 0 {
			a.bytes(int(n) * 16) // aborted transactions
		}
		data = a.bytes(int(int32(a.uint32())))
		if err := a.end(code); err != nil || len(data) > 0 {
			return err
		}
		return errors.New("the broker returned nothing though the partition goes on")
	})
	if err != nil {
		return at, err
	}
	var stop error
	next, err = recordbatch.Fetched(data, maxRecords, func(offset, ts int64, key, value []byte, headers []sink.Header) bool {
		if offset >= at && offset < end {
			stop = yield(&Consumed{sink.Record{Key: key, Value: value, Headers: headers, Timestamp: ts}, p, offset})
		}
		return stop == nil && offset < end
	})
	switch {
	case stop != nil:
		return at, stop
	case err != nil:
		return at, err
	case next <= at:
		return at, errors.New("the broker returned half a batch")
	}
	return next, nil
}

// onePartition appends the topic and the one partition that a request is about.
func (r *topicReader) onePartition(body []byte, p int32) []byte {
	be := binary.BigEndian
	body = be.AppendUint16(be.AppendUint32(body, 1), uint16(len(r.topic)))
	body = append(body, r.topic...)
	return be.AppendUint32(be.AppendUint32(body, 1), uint32(p))
}

// ask sends a request to the leader of a partition.
func (r *topicReader) ask(ctx context.Context, p int32, k protocol.ApiKey, version int16, body []byte) (*fields, error) {
	leaders := r.layout.topics[r.topic].brokers
	if int(p) >= len(leaders) || leaders[p] < 0 {
		return nil, kafkago.LeaderNotAvailable
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if leader := leaders[p]; r.conn == nil || r.broker != leader || !r.conn.Usable(time.Now()) {
		r.hangUp()
		c, err := r.network.dialer.Connect(ctx, r.layout.brokers[leader])
		if err != nil {
			return nil, err
		}
		r.conn, r.broker = c, leader
	}
	answer, err := r.conn.Raw(ctx, k, version, body, maxAnswer)
	if err != nil {
		r.hangUp()
		return nil, err
	}
	return &fields{buf: answer}, nil
}

// patiently tries again what fails for a while, with the leaders of then.
func (r *topicReader) patiently(ctx context.Context, f func() error) error {
	for since := time.Now(); ; {
		err := f()
		code, isCode := errors.AsType[kafkago.Error](err)
		if err == nil || errors.Is(err, ErrNoTopic) || isCode && !code.Temporary() || time.Since(since) > readAgain {
			return err
		}
		select {
		case <-time.After(readPause):
		case <-ctx.Done():
			return err
		}
		if l, err := r.client.metadata(ctx); err == nil {
			r.layout = l
		}
	}
}

// fields reads an answer from its front; once it is too short it stays bad and returns zeros.
type fields struct {
	buf []byte
	bad bool
}

func (f *fields) bytes(n int) []byte {
	if n == -1 {
		n = 0 // null
	}
	if n < 0 || n > len(f.buf) {
		f.bad = true
	}
	if f.bad {
		return nil
	}
	b := f.buf[:n:n]
	f.buf = f.buf[n:]
	return b
}

func (f *fields) uint16() uint16 {
	if b := f.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if b := f.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) uint64() uint64 {
	if b := f.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// partition reads the front of an answer about one partition, which must be the one that was asked about, and returns
// its error.
func (f *fields) partition(topic string, p int32) (code int16) {
	topics := f.uint32()
	name := f.bytes(int(int16(f.uint16())))
	if topics != 1 || !slices.Equal(name, []byte(topic)) || f.uint32() != 1 || f.uint32() != uint32(p) {
		f.bad = true
	}
	return int16(f.uint16())
}

// end is what the answer says, or that it says nothing.
func (f *fields) end(code int16) error {
	switch {
	case f.bad:
		return errors.New("the answer cannot be read")
	case code != 0:
		return kafkago.Error(code)
	}
	return nil
}
