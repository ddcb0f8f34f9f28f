package recordbatch

import "hash/crc32"

// sum is the CRC-32C of the records in a batch's whole chunks, taken as soon as a chunk is full: it is in the
// CPU's cache then, and the CRC runs five times as fast as over the whole batch when it is stamped. What the
// stamp adds, the header in front and the last chunk behind, is joined to it.
type sum struct {
	crc uint32
	end int // wire offset up to which records are in it, a multiple of ChunkSize; 0: none are
}

// earlyChunks is from how many full chunks on a batch is summed early: to join the pieces costs about as much
// as the CRC of one chunk.
const earlyChunks = 4

// sumWhole takes the chunks before chunk n in.
func (b *Batch) sumWhole(n int) {
	for i := b.sum.end / ChunkSize; i < n; i++ {
		p := b.chunks[i][:]
		if i == 0 {
			p = p[Overhead:]
		}
		b.sum.crc = crc32.Update(b.sum.crc, castagnoli, p)
		b.sum.end = (i + 1) * ChunkSize
	}
}

// WireChecksum is the CRC-32C of the wire form after SealUnstamped. What of it is over records a later Stamp
// does not compute again.
func (b *Batch) WireChecksum() uint32 {
	crc, i := crc32.Update(0, castagnoli, b.chunks[0][:Overhead]), 0
	if last := len(b.chunks) - 1; last >= earlyChunks {
		b.sumWhole(last)
		crc = joined(crc, b.sum.crc, b.sum.end-Overhead)
		i = last
	} else {
		crc = crc32.Update(crc, castagnoli, b.part(0)[Overhead:])
		i = 1
	}
	for ; i < len(b.chunks); i++ {
		crc = crc32.Update(crc, castagnoli, b.part(i))
	}
	return crc
}

// joined is the CRC of two pieces one behind the other, from the CRC of each and the second's length: the
// first is multiplied by x^(8n), modulo the polynomial.
func joined(first, second uint32, n int) uint32 {
	power := uint32(1) << 30 // x; bits are reflected: the highest is x^0
	for range 3 {
		power = times(power, power)
	}
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			first = times(power, first)
		}
		power = times(power, power)
	}
	return first ^ second
}

// times is the product of two polynomials modulo Castagnoli's.
func times(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}
