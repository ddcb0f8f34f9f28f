package recordbatch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"functiongraph-ingest/pkg/sink"
)

// Bits of a batch's attributes beside the codec (KIP-98).
const (
	attrCodec   = 7
	attrAppend  = 1 << 3 // timestamps are the broker's
	attrControl = 1 << 5 // the end of a transaction, no records
)

// Fetched decodes what a broker returns of a partition: batches of any producer, one behind another, the last one cut
// off anywhere. The records of one batch may decompress to at most limit bytes. next is the offset behind the last
// whole batch, -1 when there is none; yield gets records from before the offset that was asked for as well. Memory is
// as for Records. It ends without an error when yield returns false.
func Fetched(data []byte, limit int, yield func(offset, ts int64, key, value []byte, headers []sink.Header) bool) (next int64, err error) {
	next = -1
	const front = offBatchLength + 4 - offBaseOffset // base offset and length
	for len(data) >= front {
		size := int64(int32(binary.BigEndian.Uint32(data[offBatchLength-offBaseOffset:]))) + front
		if size < Overhead-4 {
			return next, fmt.Errorf("recordbatch: a batch of %d bytes is none of format 2 (Kafka 0.11)", size)
		}
		if int64(len(data)) < size {
			break
		}
		more, err := fetchedBatch(data[:size], limit, &next, yield)
		if err != nil || !more {
			return next, err
		}
		data = data[size:]
	}
	return next, nil
}

// fetchedBatch decodes one whole batch, which begins with its base offset.
func fetchedBatch(b []byte, limit int, next *int64, yield func(offset, ts int64, key, value []byte, headers []sink.Header) bool) (more bool, err error) {
	be := binary.BigEndian
	at := func(off int) []byte { return b[off-offBaseOffset:] }
	if m := at(offMagic)[0]; m != 2 {
		return false, fmt.Errorf("recordbatch: a batch has format %d, only 2 is read", m)
	}
	if got, want := crc32.Checksum(at(offAttributes), castagnoli), be.Uint32(at(offCRC)); got != want {
		return false, fmt.Errorf("recordbatch: CRC is %08x, want %08x", got, want)
	}
	base, last := int64(be.Uint64(at(offBaseOffset))), int64(int32(be.Uint32(at(offLastDelta))))
	if base < 0 || last < 0 {
		return false, fmt.Errorf("recordbatch: offsets %d and %d", base, last)
	}
	*next = base + last + 1
	attributes := be.Uint16(at(offAttributes))
	if attributes&attrControl != 0 {
		return true, nil
	}
	records, err := decompress(Codec(attributes&attrCodec), at(Overhead), limit)
	if err != nil {
		return false, fmt.Errorf("recordbatch: records at offset %d: %w", base, err)
	}
	first, maxTS := int64(be.Uint64(at(offFirstTS))), int64(be.Uint64(at(offMaxTS)))
	p := parser{buf: records}
	var headers []sink.Header
	for i := range int64(int32(be.Uint32(at(offCount)))) {
		var delta, offset int64
		var key, value []byte
		offset, delta, key, value, headers = p.record(headers[:0])
		if p.bad || offset < 0 || offset > last { // compaction leaves holes
			return false, fmt.Errorf("recordbatch: record %d of the batch at offset %d: %w", i, base, errRecord)
		}
		ts := first + delta
		if attributes&attrAppend != 0 {
			ts = maxTS
		}
		if !yield(base+offset, ts, key, value, headers) {
			return false, nil
		}
	}
	return true, nil
}
