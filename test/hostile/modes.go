package hostile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
)

// Mode is one way to be no broker. Requests that it does not name are answered honestly.
type Mode struct {
	Name string
	Says string // what must be said about it; "": anything

	Banner string          // sent at once
	First  string          // sent in place of the first answer; then the connection ends
	Silent bool            // reads and never answers
	Answer AnswerFunc      // to requests of kind To
	To     protocol.ApiKey // Produce by default
	ToAll  bool
	SASL   string // the client must authenticate: MECHANISM
	// Works says that events may be delivered all the same.
	Works bool
}

// AnswerFunc answers a request to which a broker would answer honest. An error ends the connection.
type AnswerFunc func(c net.Conn, req Request, honest []byte) error

var errEnd = errors.New("end")

// send makes an AnswerFunc of what it answers in place of the honest answer.
func send(f func(req Request, honest []byte) []byte) AnswerFunc {
	return func(c net.Conn, req Request, honest []byte) error {
		_, err := c.Write(f(req, honest))
		return err
	}
}

// framed gives a body length and correlation id.
func framed(req Request, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	return append(binary.BigEndian.AppendUint32(b, uint32(req.id)), body...)
}

// Greetings are listeners that speak something else, or nothing.
func Greetings() []Mode {
	return []Mode{
		{Name: "http", Says: "an HTTP server answers", First: "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"},
		{Name: "tls-alert", Says: "speaks TLS", First: "\x15\x03\x03\x00\x02\x02\x46"},
		{Name: "tls-handshake", Says: "speaks TLS", First: "\x16\x03\x03\x01\x00\x01"},
		{Name: "ssh", Says: "an SSH server answers", Banner: "SSH-2.0-OpenSSH_9.9\r\n", Silent: true},
		{Name: "smtp", Says: `begins with "220 mail`, Banner: "220 mail.example ESMTP\r\n", Silent: true},
		{Name: "redis", Says: `begins with "-ERR`, First: "-ERR unknown command\r\n"},
		{Name: "postgres", First: "E\x00\x00\x00\x66SFATAL\x00"},
		{Name: "silent", Silent: true},
		{Name: "closes", Says: "ended before the first answer", Answer: func(net.Conn, Request, []byte) error { return errEnd }, ToAll: true},
	}
}

// Frames are broken answers to one kind of request.
func Frames(to protocol.ApiKey) []Mode {
	array := func(n uint32, size int) AnswerFunc {
		return send(func(req Request, honest []byte) []byte { return framed(req, hugeArray(req, honest[8:], n, size)) })
	}
	list := []Mode{
		{Name: "cut", Answer: func(c net.Conn, _ Request, honest []byte) error {
			_, _ = c.Write(honest[:len(honest)-3])
			return errEnd
		}},
		{Name: "negative-length", Says: "an answer of -5 bytes", Answer: send(func(_ Request, honest []byte) []byte {
			return append([]byte{0xff, 0xff, 0xff, 0xfb}, honest[4:]...)
		})},
		{Name: "huge-length", Says: "an answer of 2147483647 bytes", Answer: send(func(_ Request, honest []byte) []byte {
			return append([]byte{0x7f, 0xff, 0xff, 0xff}, honest[4:]...)
		})},
		{Name: "empty", Says: "too short", Answer: send(func(Request, []byte) []byte { return make([]byte, 4) })},
		{Name: "slow", Answer: stream(3 << 20)},
		{Name: "endless", Answer: stream(math.MaxInt32)},
		{Name: "huge-array", Answer: array(math.MaxInt32, 48)},
		{Name: "negative-array", Answer: array(1<<31, 48)},
		{Name: "array16m", Answer: array(1<<24, 48)},
		{Name: "array-whole", Answer: array(1<<17, 3<<20)},
		{Name: "wrong-id", Says: "answers request", Answer: send(func(req Request, honest []byte) []byte {
			req.id += 7
			return framed(req, honest[8:])
		})},
		{Name: "left-over", Answer: send(func(req Request, honest []byte) []byte { return framed(req, append(honest[8:], 1, 2, 3)) })},
		{Name: "twice", Answer: send(func(_ Request, honest []byte) []byte { return append(honest, honest...) })},
		{Name: "http", Answer: send(func(Request, []byte) []byte { return []byte("HTTP/1.1 502 Bad Gateway\r\n\r\n") })},
		{Name: "noise", Answer: send(func(req Request, honest []byte) []byte {
			return framed(req, bytes.Repeat([]byte{0x7f, 0xff, 0xfe, 0xff, 0xff, 0x80, 0x80, 1}, 64))
		})},
	}
	for i := range list {
		list[i].To = to
		list[i].Name = strings.ToLower(to.String()) + "-" + list[i].Name
	}
	return list
}

// hugeArray is an answer's body with n in place of the length of its first list, and padding up to size.
func hugeArray(req Request, body []byte, n uint32, size int) []byte {
	at := 0
	switch {
	case req.key == protocol.ApiVersions:
		at = 2
	case req.key == protocol.Metadata && req.version >= 3:
		at = 4
	}
	out := make([]byte, max(size, at+4))
	copy(out, body)
	binary.BigEndian.PutUint32(out[at:], n)
	return out
}

// stream announces an answer of n bytes and sends it, with nothing in it, for as long as it is read.
func stream(n uint32) AnswerFunc {
	return func(c net.Conn, req Request, _ []byte) error {
		b := binary.BigEndian.AppendUint32(nil, n)
		if _, err := c.Write(binary.BigEndian.AppendUint32(b, uint32(req.id))); err != nil {
			return err
		}
		zeros := make([]byte, 64<<10)
		for sent := uint32(4); sent < n; sent += uint32(len(zeros)) {
			if _, err := c.Write(zeros[:min(uint32(len(zeros)), n-sent)]); err != nil {
				return err
			}
		}
		return nil
	}
}

// Layouts are answers about a cluster that cannot be.
func Layouts(topic string) []Mode {
	edit := func(name, says string, f func(m *metadata.Response)) Mode {
		return Mode{Name: name, Says: says, To: protocol.Metadata, Answer: func(c net.Conn, req Request, _ []byte) error {
			b := &Broker{Addr: c.LocalAddr().String(), topic: topic}
			m := b.metadata()
			f(m)
			_, err := c.Write(encode(req, m))
			return err
		}}
	}
	partitions := func(n int) func(m *metadata.Response) {
		return func(m *metadata.Response) {
			m.Topics[0].Partitions = make([]metadata.ResponsePartition, n)
			for i := range n {
				m.Topics[0].Partitions[i] = metadata.ResponsePartition{PartitionIndex: int32(i), LeaderID: 1}
			}
		}
	}
	index := func(p int32) func(m *metadata.Response) {
		return func(m *metadata.Response) { m.Topics[0].Partitions[0].PartitionIndex = p }
	}
	brokers := func(n int) func(m *metadata.Response) {
		return func(m *metadata.Response) {
			for i := range n {
				m.Brokers = append(m.Brokers, metadata.ResponseBroker{NodeID: int32(i + 2), Host: "127.0.0.1", Port: 1})
				m.Topics[0].Partitions = append(m.Topics[0].Partitions, metadata.ResponsePartition{PartitionIndex: int32(i + 1), LeaderID: int32(i + 2)})
			}
		}
	}
	works := edit("layout-20000-partitions", "", partitions(20_000))
	works.Works = true
	list := []Mode{
		edit("layout-partition-minus-1", "names partition -1", index(-1)),
		edit("layout-partition-100m", "names partition 100000000", index(100_000_000)),
		edit("layout-partition-max", "names partition 2147483647", index(math.MaxInt32)),
		edit("layout-40000-partitions", "more than 20000 partitions", partitions(40_000)),
		edit("layout-5000-brokers", "at most 1000", brokers(5_000)),
		edit("layout-999-brokers", "", brokers(999)),
		edit("layout-no-brokers", "knows of none", func(m *metadata.Response) { m.Brokers = nil }),
		edit("layout-broker-minus-1", "lists a broker -1", func(m *metadata.Response) { m.Brokers[0].NodeID = -1 }),
		edit("layout-port-0", "port 0", func(m *metadata.Response) { m.Brokers[0].Port = 0 }),
		edit("layout-no-host", "lists a broker", func(m *metadata.Response) { m.Brokers[0].Host = "" }),
		edit("layout-long-host", "lists a broker", func(m *metadata.Response) { m.Brokers[0].Host = strings.Repeat("x", 30_000) }),
		edit("layout-no-topics", "", func(m *metadata.Response) { m.Topics = nil }),
		edit("layout-unknown-leader", "has no leader", func(m *metadata.Response) { m.Topics[0].Partitions[0].LeaderID = 77 }),
		edit("layout-throttle", "", func(m *metadata.Response) { m.ThrottleTimeMs = math.MaxInt32 }),
		works,
	}
	return append(list, Mode{Name: "produce-throttle", To: protocol.Produce, Works: true, Answer: func(c net.Conn, req Request, _ []byte) error {
		m := &produce.Response{ThrottleTimeMs: math.MaxInt32, Topics: []produce.ResponseTopic{{Topic: topic, Partitions: []produce.ResponsePartition{{LogAppendTime: -1}}}}}
		_, err := c.Write(encode(req, m))
		return err
	}})
}

// Logins go wrong while the client proves who it is.
func Logins() []Mode {
	challenge := func(name, says string, f func(first string) string) Mode {
		return Mode{Name: name, Says: says, SASL: "SCRAM-SHA-512", To: protocol.SaslAuthenticate, Answer: func(c net.Conn, req Request, _ []byte) error {
			_, nonce, _ := strings.Cut(string(req.body), ",r=")
			_, err := c.Write(encode(req, &saslauthenticate.Response{AuthBytes: []byte(f(nonce))}))
			return err
		}}
	}
	iterations := func(i string) func(string) string {
		return func(nonce string) string { return fmt.Sprintf("r=%sx,s=c2FsdHNhbHQ=,i=%s", nonce, i) }
	}
	return []Mode{
		challenge("scram-iterations-max", "SCRAM iterations", iterations("2147483647")),
		challenge("scram-iterations-1000001", "SCRAM iterations", iterations("1000001")),
		challenge("scram-iterations-int64", "SCRAM iterations", iterations("9223372036854775807")),
		challenge("scram-iterations-zeros", "SCRAM iterations", iterations("00000000002147483647")),
		challenge("scram-endless", "", iterations("4096")),
		challenge("scram-long", "", func(nonce string) string { return iterations("4096")(nonce) + "," + strings.Repeat("x", 900<<10) }),
		{Name: "sasl-silent", SASL: "PLAIN", To: protocol.SaslHandshake, Answer: func(net.Conn, Request, []byte) error { return nil }},
		{Name: "sasl-silent-later", SASL: "PLAIN", To: protocol.SaslAuthenticate, Answer: func(net.Conn, Request, []byte) error { return nil }},
	}
}

// All are all modes, for clients that use one topic.
func All(topic string) []Mode {
	list := Greetings()
	for _, k := range []protocol.ApiKey{protocol.ApiVersions, protocol.Metadata, protocol.InitProducerId, protocol.Produce} {
		list = append(list, Frames(k)...)
	}
	list = append(list, Layouts(topic)...)
	return append(list, Logins()...)
}
