package wire

import (
	"encoding/binary"
	"math"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/sasl/plain"

	"functiongraph-ingest/test/hostile"
)

// edited is a broker whose answers of one kind are changed: the frame as a broker would send it.
func edited(t *testing.T, to protocol.ApiKey, edit func(frame []byte) []byte) *Conn {
	t.Helper()
	b := hostile.Listen(t, "127.0.0.1:0", "t", hostile.Mode{To: to, Answer: func(c net.Conn, _ hostile.Request, honest []byte) error {
		_, err := c.Write(edit(honest))
		return err
	}})
	c, err := NewDialer(Config{Dial: (&net.Dialer{}).DialContext, SASL: plain.Mechanism{Username: "u", Password: "p"}}).Connect(t.Context(), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A session that lasts for years once had each request log in anew.
func TestSessionsLastAsLongAsTheBrokerSays(t *testing.T) {
	for _, ms := range []int64{math.MinInt64, -1, 0, 10, 1 << 20, 1 << 39, 1 << 40, math.MaxInt64} {
		before := time.Now()
		c := edited(t, protocol.SaslAuthenticate, func(frame []byte) []byte {
			binary.BigEndian.PutUint64(frame[len(frame)-8:], uint64(ms))
			return frame
		})
		ends := ms > 0 && ms < time.Hour.Milliseconds()
		if !c.Usable(before) || c.Usable(before.Add(time.Hour)) == ends || ends && c.Usable(time.Now().Add(time.Duration(ms)*time.Millisecond)) {
			t.Errorf("%d ms: it ends %v, and it is %v", ms, c.expires, before)
		}
	}
}

// Each connection keeps which requests its broker knows, of those that there are.
func TestAListOfVersionsIsBounded(t *testing.T) {
	c := edited(t, protocol.ApiVersions, func(frame []byte) []byte {
		be := binary.BigEndian
		const more = 10_000
		for i := range more {
			frame = append(be.AppendUint16(frame, uint16(200+i*6)), 0, 0, 0, 1)
		}
		be.PutUint32(frame, uint32(len(frame)-4))
		be.PutUint32(frame[10:], be.Uint32(frame[10:])+more)
		return frame
	})
	if _, ok := c.versions[protocol.Produce]; !ok || len(c.versions) > maxAPIKey {
		t.Errorf("%d kinds of requests", len(c.versions))
	}
}
