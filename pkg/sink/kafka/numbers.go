package kafka

import (
	"crypto/rand"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Headers says which headers the records of events carry in front of their own. Values stay as they are.
type Headers uint8

const (
	// HeadersNone adds nothing.
	HeadersNone Headers = iota
	// HeadersStandard adds what Deps.Origin returns, and ingest-seq.
	HeadersStandard
	// HeadersCloudEvents adds the attributes of a CloudEvent 1.0 in the binary mode of its Kafka binding: ce_id is the
	// sequence number, ce_source is made of function, version and instance. Other headers of Deps.Origin are added too.
	HeadersCloudEvents
)

// HeaderSeq has the sequence number of an event: a random id of this start of the sink, a dash, and how many events
// the sink had admitted before. Numbers are dense: every event has one, whether it is delivered, dead-lettered,
// set aside or dropped.
const HeaderSeq = "ingest-seq"

// The attributes of a CloudEvent, https://github.com/cloudevents/spec, kafka-protocol-binding.md. The number is the id.
const (
	HeaderCloudEventID     = "ce_id"
	HeaderCloudEventSource = "ce_source"
	ceSpecVersion          = "ce_specversion"
	ceType                 = "ce_type"
	contentType            = "content-type"

	sourcePrefix = "/functiongraph"
	typePrefix   = "com.huaweicloud.functiongraph."
	typeUnknown  = "ingest.event"
)

// startIDLength is enough that no two of a billion starts are alike: 13 letters of base 32.
const startIDLength = 13

// numbers makes the headers of each record. core.mu guards it.
type numbers struct {
	headers Headers
	start   string // the random id; "": none, and nothing is numbered
	base    int64  // account.admitted when start was made

	from    []sink.Header       // what the fixed part of wire was made of
	encoded recordbatch.Encoded // the fixed headers, then the number's, then the type's of a CloudEvent
	fixed   int                 // bytes of wire that do not depend on the record
	at      int64               // the number in wire; -1: wire must be made
	typ     string              // the type in wire
	first   int                 // where the digits begin
	last    int                 // and end
}

// ParseNumber reads the value of a [HeaderSeq]: the id of the start and the number. false: it is none of ours, as the ids
// of other programs' CloudEvents are.
func ParseNumber(value []byte) (start []byte, no int64, ok bool) {
	if len(value) < startIDLength+2 || value[startIDLength] != '-' || !isStartID(string(value[:startIDLength])) {
		return nil, 0, false
	}
	digits := value[startIDLength+1:]
	if len(digits) > 18 || digits[0] == '0' && len(digits) > 1 {
		return nil, 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return nil, 0, false
		}
		no = 10*no + int64(c-'0')
	}
	return value[:startIDLength:startIDLength], no, true
}

func isStartID(s string) bool {
	return len(s) == startIDLength && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// ParseMark reads the value of a mark. false: it is none of ours.
func ParseMark(value []byte) (m Mark, ok bool) {
	err := json.Unmarshal(value, &m)
	return m, err == nil && isStartID(m.Start) && m.Safe >= 0 && m.Safe <= m.Numbers
}

// InstanceOf reads the instance from the value of a [HeaderCloudEventSource]. A source of others is an instance of itself.
func InstanceOf(ceSource []byte) string {
	source := string(ceSource)
	if rest, ok := strings.CutPrefix(source, sourcePrefix+"/"); ok {
		if name, err := url.PathUnescape(rest[strings.LastIndexByte(rest, '/')+1:]); err == nil {
			return name
		}
	}
	return source
}

// begin starts a sequence; admitted is how many events have no number of it.
func (n *numbers) begin(admitted int64) {
	if n.headers != HeadersNone {
		n.start, n.base, n.at = strings.ToLower(rand.Text()[:startIDLength]), admitted, -1
	}
}

// originChanged takes over what Origin returns, if it has changed.
func (s *core) originChanged() {
	n := &s.numbers
	if n.headers == HeadersNone || s.deps.Origin == nil {
		return
	}
	// The list is not written to, so the same array is the same list.
	if h := s.deps.Origin(); len(h) != len(n.from) || len(h) > 0 && &h[0] != &n.from[0] {
		n.from, n.at = h, -1
	}
}

// number is what the next event that is admitted gets.
func (s *core) number() int64 { return s.count.admitted - s.numbers.base }

// encoded returns the headers for the next event that is admitted, nil for none. They are valid until the next call.
func (s *core) encoded(typ string) *recordbatch.Encoded {
	if s.numbers.headers == HeadersNone {
		return nil
	}
	return s.encodedNext(typ)
}

func (s *core) encodedNext(typ string) *recordbatch.Encoded {
	n := &s.numbers
	if n.headers != HeadersCloudEvents {
		typ = ""
	}
	no := s.number()
	if n.at < 0 || typ != n.typ || no != n.at && (no != n.at+1 || !increment(n.encoded.Wire[n.first:n.last])) {
		n.encode(no, typ)
	}
	n.at = no
	return &n.encoded
}

// increment adds one to a decimal number in place; false: it needs one more digit, and digits are spoilt.
func increment(digits []byte) bool {
	for i := len(digits) - 1; i >= 0; i-- {
		if digits[i] != '9' {
			digits[i]++
			return true
		}
		digits[i] = '0'
	}
	return false
}

// encode makes wire anew.
func (n *numbers) encode(no int64, typ string) {
	if n.at < 0 {
		n.encodeFixed()
	}
	key := HeaderSeq
	if n.headers == HeadersCloudEvents {
		key = HeaderCloudEventID
	}
	n.encoded.Wire = recordbatch.AppendHeader(n.encoded.Wire[:n.fixed], key, n.text(no))
	n.last = len(n.encoded.Wire)
	n.first = n.last - len(strconv.AppendInt(nil, no, 10))
	if n.typ = typ; n.headers == HeadersCloudEvents {
		full := typeUnknown
		if typ != "" {
			full = typePrefix + typ
		}
		n.encoded.Wire = recordbatch.AppendHeader(n.encoded.Wire, ceType, []byte(full))
	}
}

func (n *numbers) encodeFixed() {
	n.encoded.Wire, n.encoded.Count = n.encoded.Wire[:0], 1
	add := func(key, value string) {
		n.encoded.Wire = recordbatch.AppendHeader(n.encoded.Wire, key, []byte(value))
		n.encoded.Count++
	}
	if n.headers == HeadersCloudEvents {
		n.encoded.Count++ // the type
		add(ceSpecVersion, "1.0")
		add(HeaderCloudEventSource, source(n.from))
		add(contentType, "application/json")
	}
	for _, h := range n.from {
		if n.headers != HeadersCloudEvents || !inSource(h.Key) {
			add(h.Key, string(h.Value))
		}
	}
	n.fixed = len(n.encoded.Wire)
}

// text is a number as it stands in a header.
func (n *numbers) text(no int64) []byte {
	return strconv.AppendInt(append([]byte(n.start), '-'), no, 10)
}

// sourceKeys are the headers of Deps.Origin that a CloudEvent's source is made of.
func sourceKeys() [3]string { return [...]string{"ingest-function", "ingest-version", HeaderInstance} }

func inSource(key string) bool {
	keys := sourceKeys()
	return slices.Contains(keys[:], key)
}

// source is a URI reference that names where the events come from.
func source(origin []sink.Header) string {
	uri := sourcePrefix
	for _, key := range sourceKeys() {
		for _, h := range origin {
			if h.Key == key {
				uri += "/" + url.PathEscape(string(h.Value))
			}
		}
	}
	return uri
}

// numbered adds the number no to the headers of a dead letter.
func (s *core) numbered(h []sink.Header, no int64) []sink.Header {
	if s.numbers.headers == HeadersNone {
		return h
	}
	return append(h, sink.Header{Key: HeaderSeq, Value: s.numbers.text(no)})
}
