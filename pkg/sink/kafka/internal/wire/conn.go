package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeclientquotas"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
)

// Conn is a connection to a broker that is ready for requests, one at a time. Only Close may be called while
// another method runs.
type Conn struct {
	address   string
	clientID  string
	conn      net.Conn
	interrupt func()                   // ends reads and writes of conn; made once
	versions  map[protocol.ApiKey]span // that the broker knows
	answers   map[protocol.ApiKey]answer
	limit     int          // bytes of a frame
	large     *large       // of the Dialer
	buf       []byte       // of the last answer
	frame     bytes.Reader // of the answer that is being decoded
	id        int32        // of the last request
	served    bool         // it has answered a request since it is ready
	plain     bool         // no TLS
	loggedIn  bool

	muted   time.Time // the broker wants nothing before
	expires time.Time // the broker ends its session then (KIP-368); zero: never
	broken  bool
}

type span struct{ min, max int16 }

// answer is how the answers to one kind of request look on this connection.
type answer struct {
	version  int16
	flexible bool
	shape    shape
}

// responseType is what kafka-go decodes an answer into; nil for requests that are never sent.
func responseType(k protocol.ApiKey) reflect.Type {
	switch k {
	case protocol.ApiVersions:
		return reflect.TypeFor[apiversions.Response]()
	case protocol.SaslHandshake:
		return reflect.TypeFor[saslhandshake.Response]()
	case protocol.SaslAuthenticate:
		return reflect.TypeFor[saslauthenticate.Response]()
	case protocol.Metadata:
		return reflect.TypeFor[metadata.Response]()
	case protocol.InitProducerId:
		return reflect.TypeFor[initproducerid.Response]()
	case protocol.Produce:
		return reflect.TypeFor[produce.Response]()
	case protocol.CreateTopics:
		return reflect.TypeFor[createtopics.Response]()
	case protocol.DescribeConfigs:
		return reflect.TypeFor[describeconfigs.Response]()
	case protocol.DescribeClientQuotas:
		return reflect.TypeFor[describeclientquotas.Response]()
	}
	return nil
}

// newest is the highest version of a request that this program sends.
func newest(k protocol.ApiKey) int16 {
	if k == protocol.DescribeClientQuotas {
		return 0 // kafka-go encodes the strings of version 1 without the compact lengths that it has
	}
	return k.MaxVersion()
}

// Usable reports whether the next request may go over the connection.
func (c *Conn) Usable(now time.Time) bool {
	return !c.broken && (c.expires.IsZero() || now.Before(c.expires))
}

// Close ends the connection, and a request that is under way.
func (c *Conn) Close() error { return c.conn.Close() }

// RoundTrip sends a request and returns its answer. When it returns, nothing reads the request any more. After an
// error, or when ctx ended, the connection is of no use but to be closed.
func (c *Conn) RoundTrip(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	var res protocol.Message
	err := c.within(ctx, func() (err error) {
		if err := c.waitMuted(ctx); err != nil {
			return err
		}
		res, err = c.exchange(ctx, req)
		return err
	})
	if err != nil {
		return nil, c.explain(err)
	}
	c.served = true
	return res, nil
}

// within runs f, whose reads and writes end with ctx.
func (c *Conn) within(ctx context.Context, f func() error) error {
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		c.broken = true
		return err
	}
	stop := context.AfterFunc(ctx, c.interrupt)
	err := f()
	if !stop() || err != nil {
		c.broken = true
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("no answer: %w", context.Cause(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded): // the socket's clock was first
		return fmt.Errorf("no answer: %w", context.DeadlineExceeded)
	}
	return err
}

// explain names the broker, and what an end without a word may mean.
func (c *Conn) explain(err error) error {
	if _, ok := errors.AsType[*NotKafkaError](err); ok {
		return err
	}
	if !c.served && !c.loggedIn && errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: the broker ended the connection at the first request; does it ask for SASL (--sasl)? %w", c.address, err)
	}
	return fmt.Errorf("%s: %w", c.address, err)
}

// waitMuted waits until the broker wants to be asked again.
func (c *Conn) waitMuted(ctx context.Context) error {
	if c.muted.IsZero() {
		return nil
	}
	d := time.Until(c.muted)
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ErrUnknownRequest is returned for a request that was not sent because the broker does not offer its kind.
var ErrUnknownRequest = errors.New("the broker does not know the request")

// answerTo returns how the answer to a request looks, in the highest version that both sides know.
func (c *Conn) answerTo(k protocol.ApiKey) (answer, error) {
	if a, ok := c.answers[k]; ok {
		return a, nil
	}
	t := responseType(k)
	if t == nil {
		return answer{}, fmt.Errorf("wire: %v requests are not sent", k)
	}
	a := answer{} // version 0, until the broker has told which ones it knows
	if c.versions != nil {
		v, ok := c.versions[k]
		if !ok {
			return answer{}, fmt.Errorf("%w: no %v", ErrUnknownRequest, k)
		}
		a.version = min(newest(k), v.max)
		if a.version < max(k.MinVersion(), v.min) {
			return answer{}, fmt.Errorf("the broker knows %v in versions %d to %d, this program in %d to %d", k, v.min, v.max, k.MinVersion(), newest(k))
		}
	}
	a.shape, a.flexible = shapeOf(t, a.version)
	c.answers[k] = a
	return a, nil
}

// exchange sends a request and reads its answer.
func (c *Conn) exchange(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	k := req.ApiKey()
	a, err := c.answerTo(k)
	if err != nil {
		return nil, err
	}
	c.id++
	if err := protocol.WriteRequest(c.conn, a.version, c.id, c.clientID, req); err != nil {
		return nil, err
	}
	frame, done, err := c.readFrame(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.decode(frame, k, &a)
}

// decode checks a frame, its length included, and lets kafka-go decode it.
func (c *Conn) decode(frame []byte, k protocol.ApiKey, a *answer) (res protocol.Message, err error) {
	if len(frame) < 8 {
		return nil, c.notKafka("an answer of %d bytes is too short", len(frame)-4)
	}
	if id := int32(binary.BigEndian.Uint32(frame[4:])); id != c.id {
		return nil, c.notKafka("it answers request %d, request %d was sent", id, c.id)
	}
	if err := checkAnswer(frame[8:], &a.shape, a.flexible); err != nil {
		return nil, c.notKafka("its answer to %v (version %d) cannot be read: %v", k, a.version, err)
	}
	defer func() {
		c.frame.Reset(nil)            // the frame may be long
		if p := recover(); p != nil { // the check has a hole; what sits at an address must not end the process
			res, err = nil, c.notKafka("its answer to %v (version %d) cannot be decoded: %v", k, a.version, p)
		}
	}()
	c.frame.Reset(frame)
	_, res, err = protocol.ReadResponse(&c.frame, k, a.version)
	if err == nil {
		c.mute(Throttle(res))
	}
	return res, err
}

func (c *Conn) mute(d time.Duration) {
	if d > 0 {
		c.muted = time.Now().Add(d)
	}
}

// Throttle is how long the broker that gave an answer wants to hear nothing from the client; 0 for most answers.
func Throttle(res protocol.Message) time.Duration {
	var ms int32
	switch r := res.(type) {
	case *produce.Response:
		ms = r.ThrottleTimeMs
	case *metadata.Response:
		ms = r.ThrottleTimeMs
	case *initproducerid.Response:
		ms = r.ThrottleTimeMs
	case *createtopics.Response:
		ms = r.ThrottleTimeMs
	case *describeconfigs.Response:
		ms = r.ThrottleTimeMs
	}
	return min(max(time.Duration(ms)*time.Millisecond, 0), maxThrottle)
}

func (c *Conn) notKafka(format string, args ...any) error {
	return &NotKafkaError{c.address, "no Kafka broker: " + fmt.Sprintf(format, args...), false}
}

// readFrame reads one answer: its length and what follows. The caller must call done when it needs the frame no more.
func (c *Conn) readFrame(ctx context.Context) (frame []byte, done func(), err error) {
	n, err := io.ReadAtLeast(c.conn, c.buf, 4)
	if err := looksLike(c.buf[:n], c.address); err != nil {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(c.buf)))
	total := 4 + size
	switch {
	case size < 0 || size > c.limit:
		return nil, nil, c.notKafka("it announces an answer of %d bytes, at most %d are read", size, c.limit)
	case n > total:
		return nil, nil, c.notKafka("%d bytes follow its answer and were not asked for", n-total)
	}
	if total <= smallFrame {
		frame, err = c.readRest(n, total, nil)
		return frame, func() {}, err
	}
	if err := c.large.take(ctx); err != nil {
		return nil, nil, err
	}
	if frame, err = c.readLarge(ctx, n, total); err != nil {
		c.large.giveBack()
		return nil, nil, err
	}
	return frame, c.large.giveBack, nil
}

// readRest reads a frame of which n bytes are in c.buf. It goes on after an error where failed, which hears how many bytes
// there are, returns none; nil: it ends with the first.
func (c *Conn) readRest(n, total int, failed func(n int, err error) error) ([]byte, error) {
	frame := c.buf
	for n < total {
		if n == len(frame) {
			// Twice what has arrived: memory follows what is sent, not what is announced.
			frame = append(make([]byte, 0, min(total, 2*n)), frame...)
			frame = frame[:cap(frame)]
		}
		k, err := io.ReadFull(c.conn, frame[n:min(total, len(frame))])
		if n += k; err != nil && failed != nil {
			err = failed(n, err)
		}
		if err != nil {
			return nil, cut(err)
		}
	}
	if len(frame) <= smallFrame {
		c.buf = frame
	}
	return frame[:total], nil
}

// cut makes an end in the middle of an answer an unexpected one.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
