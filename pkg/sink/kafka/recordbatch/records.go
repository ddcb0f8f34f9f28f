package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"

	"functiongraph-ingest/pkg/sink"
)

var errRecord = errors.New("broken record")

// Records decodes the records of an open or sealed batch, in order, until yield returns false. Key,
// value and headers point into memory made for this call and may be kept, except the headers slice,
// which is used again. A broken batch ends in an error, after the records in front of the break.
//
// It is for splits, dead letters and tools, not for the hot path: it makes a contiguous copy.
func (b *Batch) Records(yield func(ts int64, key, value []byte, headers []sink.Header) bool) error {
	if b.released {
		panic("recordbatch: use of a released batch")
	}
	raw := b.appendRange(make([]byte, 0, b.size-Overhead), Overhead, b.size)
	limit := MaxRecordsBytes
	if b.rawBytes != 0 { // compressed by us
		limit = b.rawBytes
	}
	h := header{codec: b.codec, count: b.count, firstTS: b.firstTS, maxTS: b.maxTS}
	return eachRecord(h, raw, limit, yield)
}

// Decode is Records for wire bytes as AppendTo makes them; the records may decompress to at most limit
// bytes. Uncompressed records point into wire.
func Decode(wire []byte, limit int, yield func(ts int64, key, value []byte, headers []sink.Header) bool) error {
	h, err := parseHeader(wire)
	if err != nil {
		return err
	}
	return eachRecord(h, wire[Overhead:], limit, yield)
}

func eachRecord(h header, raw []byte, limit int, yield func(int64, []byte, []byte, []sink.Header) bool) error {
	records, err := decompress(h.codec, raw, limit)
	if err != nil {
		return fmt.Errorf("recordbatch: %s records: %w", h.codec, err)
	}
	p := parser{buf: records}
	var headers []sink.Header
	for i := range int64(h.count) {
		var offset, delta int64
		var key, value []byte
		offset, delta, key, value, headers = p.record(headers[:0])
		if p.bad || offset != i {
			return fmt.Errorf("recordbatch: record %d of %d near byte %d of %d: %w", i, h.count, len(records)-len(p.buf), len(records), errRecord)
		}
		if !yield(h.firstTS+delta, key, value, headers) {
			return nil
		}
	}
	if len(p.buf) != 0 {
		return fmt.Errorf("recordbatch: %d bytes behind record %d of %d: %w", len(p.buf), h.count, h.count, errRecord)
	}
	return nil
}

// parser reads from the front of buf; once bad it stays bad and returns zeros.
type parser struct {
	buf []byte
	bad bool
}

// record reads one record and appends its headers to headers.
func (p *parser) record(headers []sink.Header) (offset, delta int64, key, value []byte, _ []sink.Header) {
	body := parser{buf: p.bytes(p.varint())}
	body.bad = p.bad
	body.bytes(1) // attributes
	delta = body.varint()
	offset = body.varint()
	key = body.nullable()
	value = body.nullable()
	n := body.varint()
	if n < 0 || n > int64(len(body.buf))/2 { // a header has at least its two lengths
		body.bad = true
	}
	for ; n > 0 && !body.bad; n-- {
		k := body.bytes(body.varint())
		headers = append(headers, sink.Header{Key: string(k), Value: body.nullable()})
	}
	if len(body.buf) != 0 {
		body.bad = true
	}
	p.bad = body.bad
	return offset, delta, key, value, headers
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.buf)
	if n <= 0 {
		p.bad = true
	}
	if p.bad {
		return 0
	}
	p.buf = p.buf[n:]
	return v
}

// bytes reads n bytes.
func (p *parser) bytes(n int64) []byte {
	if n < 0 || n > int64(len(p.buf)) {
		p.bad = true
	}
	if p.bad {
		return nil
	}
	v := p.buf[:n:n]
	p.buf = p.buf[n:]
	return v
}

// nullable reads a length and so many bytes; length -1 is nil.
func (p *parser) nullable() []byte {
	n := p.varint()
	if n == -1 {
		return nil
	}
	return p.bytes(n)
}
