package recordbatch

import (
	"math/bits"

	"functiongraph-ingest/pkg/sink"
)

// maxRecordOverhead bounds a record's bytes without key, value and headers: length 5, attributes 1,
// timestamp delta 10, offset delta 5, key length 5, value length 5, header count 5.
const maxRecordOverhead = 36

// maxHeaderOverhead bounds the two lengths of a header.
const maxHeaderOverhead = 10

// RecordSize is an upper bound of the wire bytes that a record adds to a batch. It is at most
// 36 + 10 per header bytes too high.
func RecordSize(key, value []byte, headers []sink.Header) int {
	n := maxRecordOverhead + len(key) + len(value)
	for i := range headers {
		n += maxHeaderOverhead + len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

// Encoded is a list of headers in wire form, made by [AppendHeader]. They stand in front of a record's other headers.
type Encoded struct {
	Wire  []byte // the caller's; copied by TryAppendEncoded
	Count int    // headers in Wire
}

// Size is the bytes of the headers; nil has none.
func (e *Encoded) Size() int {
	if e == nil {
		return 0
	}
	return len(e.Wire)
}

// AppendHeader appends one header in wire form to dst.
func AppendHeader(dst []byte, key string, value []byte) []byte {
	dst = appendVarint(dst, int64(len(key)))
	dst = append(dst, key...)
	dst = appendVarint(dst, int64(len(value)))
	return append(dst, value...)
}

func appendVarint(dst []byte, v int64) []byte {
	var b [10]byte
	return append(dst, b[:putVarint(b[:], 0, v)]...)
}

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// varintLen is the encoded size of v in bytes: one for each 7 bits, at least one.
func varintLen(v int64) int {
	return int(9*uint32(bits.Len64(zigzag(v)))+64) / 64
}

// putVarint encodes v at p[i:] and returns the index after it.
func putVarint(p []byte, i int, v int64) int {
	u := zigzag(v)
	for u >= 0x80 {
		p[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	p[i] = byte(u)
	return i + 1
}

// keyLen is the key's length on the wire: -1 when it is null.
func keyLen(key []byte) int64 {
	if key == nil {
		return -1
	}
	return int64(len(key))
}

// bodyLen is the exact size of a record behind its length field.
func bodyLen(delta, offset int64, r *sink.Record, first *Encoded) int {
	n := 1 + varintLen(delta) + varintLen(offset) +
		varintLen(keyLen(r.Key)) + len(r.Key) +
		varintLen(int64(len(r.Value))) + len(r.Value)
	count := len(r.Headers)
	if first != nil {
		count += first.Count
		n += len(first.Wire)
	}
	n += varintLen(int64(count))
	for i := range r.Headers {
		h := &r.Headers[i]
		n += varintLen(int64(len(h.Key))) + len(h.Key) + varintLen(int64(len(h.Value))) + len(h.Value)
	}
	return n
}

// putRecord encodes a record whose bodyLen is body at the start of p, which has room for it, and
// returns how many bytes it wrote.
func putRecord(p []byte, body int, delta, offset int64, r *sink.Record, first *Encoded) int {
	i := putVarint(p, 0, int64(body))
	p[i] = 0 // attributes
	i = putVarint(p, i+1, delta)
	i = putVarint(p, i, offset)
	i = putVarint(p, i, keyLen(r.Key))
	i += copy(p[i:], r.Key)
	i = putVarint(p, i, int64(len(r.Value)))
	i += copy(p[i:], r.Value)
	if first != nil {
		i = putVarint(p, i, int64(first.Count+len(r.Headers)))
		i += copy(p[i:], first.Wire)
	} else {
		i = putVarint(p, i, int64(len(r.Headers)))
	}
	for k := range r.Headers {
		h := &r.Headers[k]
		i = putVarint(p, i, int64(len(h.Key)))
		i += copy(p[i:], h.Key)
		i = putVarint(p, i, int64(len(h.Value)))
		i += copy(p[i:], h.Value)
	}
	return i
}
