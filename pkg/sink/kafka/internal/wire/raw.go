package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go/protocol"
)

// Raw sends a request whose body is in wire format, in a version without tagged fields, and returns the body of the
// answer, which is the caller's. An answer longer than limit bytes is refused. Else it is as RoundTrip.
func (c *Conn) Raw(ctx context.Context, k protocol.ApiKey, version int16, body []byte, limit int) (answer []byte, err error) {
	if v, ok := c.versions[k]; !ok || version < v.min || version > v.max {
		return nil, fmt.Errorf("%s: the broker does not know version %d of %v", c.address, version, k)
	}
	err = c.within(ctx, func() error {
		if err := c.waitMuted(ctx); err != nil {
			return err
		}
		c.id++
		be := binary.BigEndian
		frame := be.AppendUint32(nil, uint32(2+2+4+2+len(c.clientID)+len(body)))
		frame = be.AppendUint16(frame, uint16(k))
		frame = be.AppendUint16(frame, uint16(version))
		frame = be.AppendUint32(frame, uint32(c.id))
		frame = be.AppendUint16(frame, uint16(len(c.clientID)))
		frame = append(append(frame, c.clientID...), body...)
		if _, err := c.conn.Write(frame); err != nil {
			return err
		}
		defer func(was int) { c.limit = was }(c.limit)
		c.limit = limit
		got, done, err := c.readFrame(ctx)
		if err != nil {
			return err
		}
		defer done()
		if len(got) < 8 {
			return c.notKafka("an answer of %d bytes is too short", len(got)-4)
		}
		if id := int32(be.Uint32(got[4:])); id != c.id {
			return c.notKafka("it answers request %d, request %d was sent", id, c.id)
		}
		if answer = got[8:]; len(got) <= smallFrame { // that memory is used again
			answer = slices.Clone(answer)
		}
		return nil
	})
	if err != nil {
		return nil, c.explain(err)
	}
	c.served = true
	return answer, nil
}
