package recordbatch

import (
	"fmt"
	"io"

	"functiongraph-ingest/pkg/sink"
)

// maxBatchBytes bounds a batch's wire bytes far below what its int32 fields could hold.
const maxBatchBytes = 1 << 30

// NoTimestamp is the timestamp of a record that has none; brokers never refuse it.
const NoTimestamp = -1

// Batch is one record batch in wire format. Get one from [Pool.NewBatch] or [NewPrivateBatch]. It is
// not safe for concurrent use.
type Batch struct {
	pool   *Pool // nil: private
	chunks []*chunk
	tail   []byte // room behind the last record in the last chunk; nil once sealed
	size   int    // wire bytes, Overhead included

	firstTS int64
	maxTS   int64
	count   int32

	codec    Codec
	sealed   bool
	loaded   bool // by TryLoad
	released bool
	stamp    stamp
	sum      sum
	rawBytes int // records before compression; 0: not known

	privateChunks int // bound of a private batch
}

// NewPrivateBatch returns a batch with its own heap memory for recordBytes bytes of records (the sum
// of their RecordSize): for a record that is larger than any pooled batch may be, or for a split when
// the pool is dry. Release leaves its memory to the garbage collector.
func NewPrivateBatch(recordBytes int) *Batch {
	n := chunksFor(Overhead + recordBytes)
	return &Batch{chunks: make([]*chunk, 0, n), size: Overhead, privateChunks: n}
}

// chunksFor is the number of chunks that n wire bytes take.
func chunksFor(n int) int { return (n + ChunkSize - 1) / ChunkSize }

// TryAppend copies one record into the batch: ts in milliseconds since the Unix epoch, key nil for a
// null key. It is false, and nothing was written, when the pool has not enough free chunks (a private
// batch: when the record exceeds its size). The value of a record or header is never null: a consumer
// of a compacted topic would take that for a deletion; nil is written as empty.
func (b *Batch) TryAppend(ts int64, key, value []byte, headers []sink.Header) bool {
	return b.TryAppendEncoded(&sink.Record{Timestamp: ts, Key: key, Value: value, Headers: headers}, nil)
}

// TryAppendEncoded is TryAppend for a record that has the headers of first, nil for none, in front of its own.
func (b *Batch) TryAppendEncoded(r *sink.Record, first *Encoded) bool {
	delta, offset := r.Timestamp-b.firstTS, int64(b.count)
	body := bodyLen(delta, offset, r, first)
	if varintLen(int64(body))+body > len(b.tail) { // also the first record, and a sealed batch
		return b.tryAppendSlow(r, first)
	}
	n := putRecord(b.tail, body, delta, offset, r, first)
	b.tail = b.tail[n:]
	b.size += n
	b.count++
	b.maxTS = max(b.maxTS, r.Timestamp)
	return true
}

// tryAppendSlow takes the chunks that the record needs, all or none, and writes it across them.
func (b *Batch) tryAppendSlow(r *sink.Record, first *Encoded) bool {
	if b.sealed || b.released {
		panic("recordbatch: append to a sealed or released batch")
	}
	delta := r.Timestamp - b.firstTS
	if b.count == 0 {
		delta = 0
	}
	body := bodyLen(delta, int64(b.count), r, first)
	end := b.size + varintLen(int64(body)) + body
	if end > maxBatchBytes || !b.grow(end) {
		return false
	}
	if b.count == 0 {
		b.firstTS, b.maxTS = r.Timestamp, r.Timestamp
	}
	c := cursor{chunks: b.chunks, off: b.size}
	c.record(body, delta, int64(b.count), r, first)
	b.size = end
	b.count++
	b.maxTS = max(b.maxTS, r.Timestamp)
	last := len(b.chunks) - 1
	b.tail = b.chunks[last][end-last*ChunkSize:]
	if b.pool != nil && b.pool.sumEarly && last >= earlyChunks {
		b.sumTo(last * ChunkSize)
	}
	return true
}

// grow makes room for end wire bytes; false changes nothing.
func (b *Batch) grow(end int) bool {
	n := chunksFor(end) - len(b.chunks)
	if n <= 0 {
		return true
	}
	if b.pool != nil {
		var ok bool
		b.chunks, ok = b.pool.take(b.chunks, n)
		return ok
	}
	if len(b.chunks)+n > b.privateChunks {
		return false
	}
	for range n { // one by one, so that compression can let go of each of them
		b.chunks = append(b.chunks, new(chunk))
	}
	return true
}

// shrink sets the wire size and gives back the chunks behind it.
func (b *Batch) shrink(size int) {
	b.size = size
	n := chunksFor(size)
	surplus := b.chunks[n:]
	b.chunks = b.chunks[:n]
	if b.pool != nil {
		b.pool.put(surplus)
	} else {
		clear(surplus)
	}
}

// seal ends appending.
func (b *Batch) seal() {
	if b.released {
		panic("recordbatch: use of a released batch")
	}
	if b.count == 0 {
		panic("recordbatch: an empty batch has no wire form")
	}
	b.sealed = true
	b.tail = nil
}

// Count is the number of records.
func (b *Batch) Count() int { return int(b.count) }

// Size is the number of wire bytes as the batch stands, the header and the 4-byte size in front
// included. An empty batch has Size Overhead.
func (b *Batch) Size() int { return b.size }

// Chunks is the number of chunks the batch holds.
func (b *Batch) Chunks() int { return len(b.chunks) }

// Private reports whether the batch has its own memory instead of the pool's.
func (b *Batch) Private() bool { return b.pool == nil }

// Codec is how the records are compressed.
func (b *Batch) Codec() Codec { return b.codec }

// FirstTimestamp is the timestamp of the first record in milliseconds; 0 when the batch is empty.
func (b *Batch) FirstTimestamp() int64 { return b.firstTS }

// MaxTimestamp is the highest timestamp in milliseconds; 0 when the batch is empty.
func (b *Batch) MaxTimestamp() int64 { return b.maxTS }

// part is the piece of the wire bytes that lies in chunk i.
func (b *Batch) part(i int) []byte {
	return b.chunks[i][:min(ChunkSize, b.size-i*ChunkSize)]
}

// Parts appends the pieces of the wire bytes as they lie in memory to dst; the batch has its header, by
// Stamp or SealUnstamped. They are the batch's own: valid until it is stamped or released.
func (b *Batch) Parts(dst [][]byte) [][]byte {
	for i := range b.chunks {
		dst = append(dst, b.part(i))
	}
	return dst
}

// WriteTo writes the 4-byte size and the batch. A batch that was never stamped is sealed and written
// without a producer (id, epoch and sequence -1).
func (b *Batch) WriteTo(w io.Writer) (int64, error) {
	b.ensureHeader()
	return b.writeFrom(w, 0)
}

// writeFrom writes the wire bytes from offset off on.
func (b *Batch) writeFrom(w io.Writer, off int) (int64, error) {
	var sum int64
	for off < b.size {
		p := b.part(off / ChunkSize)[off%ChunkSize:]
		n, err := w.Write(p)
		sum += int64(n)
		off += n
		if err != nil {
			return sum, err
		}
		if n != len(p) {
			return sum, fmt.Errorf("recordbatch: wrote %d of %d bytes: %w", n, len(p), io.ErrShortWrite)
		}
	}
	return sum, nil
}

// AppendTo appends the contiguous wire bytes, as WriteTo writes them, to dst.
func (b *Batch) AppendTo(dst []byte) []byte {
	b.ensureHeader()
	return b.appendRange(dst, 0, b.size)
}

// appendRange appends the wire bytes [from, to) to dst.
func (b *Batch) appendRange(dst []byte, from, to int) []byte {
	for from < to {
		i := from / ChunkSize
		end := min(to, (i+1)*ChunkSize)
		dst = append(dst, b.chunks[i][from-i*ChunkSize:end-i*ChunkSize]...)
		from = end
	}
	return dst
}

// Release gives the chunks and the struct back to the pool. The caller must not use the batch again;
// a second Release panics (until the struct is in use again).
func (b *Batch) Release() {
	if b.released {
		panic("recordbatch: batch released twice")
	}
	b.released = true
	b.tail = nil
	p := b.pool
	if p == nil {
		for _, c := range b.chunks {
			poison(c[:])
		}
		b.chunks = nil
		return
	}
	p.put(b.chunks)
	b.chunks = b.chunks[:0]
	p.putBatch(b)
}
