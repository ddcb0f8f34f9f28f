package recordbatch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// header is what the fixed part of a batch says about its records.
type header struct {
	codec   Codec
	count   int32
	firstTS int64
	maxTS   int64
}

// parseHeader checks wire bytes as AppendTo makes them, the CRC included, or as SealUnstamped leaves them.
func parseHeader(wire []byte) (header, error) {
	if len(wire) <= Overhead {
		return header{}, fmt.Errorf("recordbatch: %d bytes are no batch, its header alone has %d", len(wire), Overhead)
	}
	be := binary.BigEndian
	if n := int64(be.Uint32(wire[offSize:])); n != int64(len(wire)-4) {
		return header{}, fmt.Errorf("recordbatch: size is %d, want %d", n, len(wire)-4)
	}
	if n := int64(be.Uint32(wire[offBatchLength:])); n != int64(len(wire)-4-12) {
		return header{}, fmt.Errorf("recordbatch: batch length is %d, want %d", n, len(wire)-4-12)
	}
	if m := wire[offMagic]; m != 2 {
		return header{}, fmt.Errorf("recordbatch: magic is %d, want 2", m)
	}
	// What SealUnstamped made has no CRC yet: its keeper had a checksum of its own.
	want, unstamped := be.Uint32(wire[offCRC:]), int64(be.Uint64(wire[offProducerID:])) == -1
	if want != 0 || !unstamped {
		if got := crc32.Checksum(wire[offAttributes:], castagnoli); got != want {
			return header{}, fmt.Errorf("recordbatch: CRC is %08x, want %08x", got, want)
		}
	}
	attributes := be.Uint16(wire[offAttributes:])
	if attributes > uint16(Zstd) { // no codec, or transactional, a control batch, the broker's timestamps
		return header{}, fmt.Errorf("recordbatch: attributes are %#x, want a codec", attributes)
	}
	h := header{
		codec:   Codec(attributes),
		count:   int32(be.Uint32(wire[offCount:])),
		firstTS: int64(be.Uint64(wire[offFirstTS:])),
		maxTS:   int64(be.Uint64(wire[offMaxTS:])),
	}
	if h.count <= 0 {
		return header{}, fmt.Errorf("recordbatch: record count is %d", h.count)
	}
	if last := int32(be.Uint32(wire[offLastDelta:])); last != h.count-1 {
		return header{}, fmt.Errorf("recordbatch: last offset delta is %d with %d records", last, h.count)
	}
	return h, nil
}

// TryLoad fills an empty batch with a copy of wire bytes as AppendTo or WriteTo make them, or of the Parts
// of an unstamped one, for example a frame from the spool. The batch is sealed and counts as not stamped,
// whatever the bytes say. It is false without an error, and nothing was taken, when the pool has not enough
// free chunks. Only the header and the CRC are checked, not the records.
func (b *Batch) TryLoad(wire []byte) (bool, error) {
	if b.count != 0 || b.sealed || b.released {
		panic("recordbatch: load into a batch that is not empty")
	}
	h, err := parseHeader(wire)
	if err != nil {
		return false, err
	}
	if len(wire) > maxBatchBytes || !b.grow(len(wire)) {
		return false, nil
	}
	c := cursor{chunks: b.chunks}
	c.write(wire)
	b.size = len(wire)
	b.codec, b.count, b.firstTS, b.maxTS = h.codec, h.count, h.firstTS, h.maxTS
	b.loaded = true
	b.seal()
	return true, nil
}
