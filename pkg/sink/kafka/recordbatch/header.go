package recordbatch

import (
	"encoding/binary"
	"hash/crc32"
)

// Overhead is the number of wire bytes in front of the records: the 4-byte size and the 61-byte header.
const Overhead = 4 + 61

// Offsets into the wire bytes; the package comment has the whole table.
const (
	offSize        = 0
	offBaseOffset  = 4
	offBatchLength = 12
	offLeaderEpoch = 16
	offMagic       = 20
	offCRC         = 21
	offAttributes  = 25
	offLastDelta   = 27
	offFirstTS     = 31
	offMaxTS       = 39
	offProducerID  = 47
	offEpoch       = 55
	offSequence    = 57
	offCount       = 61
)

// castagnoli is read only.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp is who sends a batch and as which number, and whether the header says so.
type stamp struct {
	producerID int64
	sequence   int32
	epoch      int16
	set        bool // by Stamp
	written    bool // the header is valid, with this stamp or without one
}

// Stamp seals the batch and writes its header: producer id, epoch, the sequence number of the first
// record, and the CRC over all bytes. It may be called again with other values.
func (b *Batch) Stamp(producerID int64, epoch int16, baseSequence int32) {
	b.seal()
	b.stamp = stamp{producerID: producerID, epoch: epoch, sequence: baseSequence, set: true}
	b.writeHeader()
}

// SealUnstamped seals the batch and writes its header without a producer and without the CRC, which only
// the stamp needs: for bytes that have another checksum until they are loaded again. A batch that has a
// header already keeps it.
func (b *Batch) SealUnstamped() {
	if b.stamp.written {
		return
	}
	b.seal()
	b.stamp = stamp{producerID: -1, epoch: -1, sequence: -1}
	b.putHeader()
	binary.BigEndian.PutUint32(b.chunks[0][offCRC:], 0)
	b.stamp.written = false // it is not fit to be sent
}

// Stamped returns the values of the last Stamp; ok is false when there was none.
func (b *Batch) Stamped() (producerID int64, epoch int16, baseSequence int32, ok bool) {
	s := &b.stamp
	return s.producerID, s.epoch, s.sequence, s.set
}

// ensureHeader gives a batch that was never stamped a valid header without a producer.
func (b *Batch) ensureHeader() {
	if b.stamp.written {
		return
	}
	b.seal()
	b.stamp = stamp{producerID: -1, epoch: -1, sequence: -1}
	b.writeHeader()
}

func (b *Batch) writeHeader() {
	b.putHeader()
	binary.BigEndian.PutUint32(b.chunks[0][offCRC:], b.checksum())
	b.stamp.written = true
}

// putHeader writes the header without the CRC.
func (b *Batch) putHeader() {
	h := b.chunks[0][:Overhead]
	be := binary.BigEndian
	be.PutUint32(h[offSize:], uint32(b.size-4))
	be.PutUint64(h[offBaseOffset:], 0)
	be.PutUint32(h[offBatchLength:], uint32(b.size-4-12))
	be.PutUint32(h[offLeaderEpoch:], 0xffffffff)
	h[offMagic] = 2
	be.PutUint16(h[offAttributes:], uint16(b.codec))
	be.PutUint32(h[offLastDelta:], uint32(b.count-1))
	be.PutUint64(h[offFirstTS:], uint64(b.firstTS))
	be.PutUint64(h[offMaxTS:], uint64(b.maxTS))
	be.PutUint64(h[offProducerID:], uint64(b.stamp.producerID))
	be.PutUint16(h[offEpoch:], uint16(b.stamp.epoch))
	be.PutUint32(h[offSequence:], uint32(b.stamp.sequence))
	be.PutUint32(h[offCount:], uint32(b.count))
}

// checksum is the CRC-32C from the attributes to the end.
func (b *Batch) checksum() uint32 {
	if b.sum.end > 0 {
		b.sumTo(b.size)
		return b.sum.behind(crc32.Update(0, castagnoli, b.chunks[0][offAttributes:Overhead]))
	}
	crc := crc32.Update(0, castagnoli, b.part(0)[offAttributes:])
	for i := range b.chunks[1:] {
		crc = crc32.Update(crc, castagnoli, b.part(i+1))
	}
	return crc
}
