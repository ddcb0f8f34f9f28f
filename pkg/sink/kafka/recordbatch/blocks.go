package recordbatch

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/pierrec/lz4/v4"
)

// blockBytes is the size, before compression, of the independent blocks of snappy and lz4. It is the
// window of both. Measured on batches of 256 KiB: one block of all is a quarter (snappy) to a third
// (lz4) slower, because the hash tables leave the cache, for 2 to 4 % of the size; and a reader needs
// a buffer of this size. Java's lz4 default is the same.
const blockBytes = 64 << 10

// xerialHeader starts the framing of snappy-java's SnappyOutputStream, which is what Kafka's Java
// client writes and reads: magic, version 1, readable since version 1. Each block behind it is an
// int32 big endian and so many bytes of raw snappy. Read only.
var xerialHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

// lz4Header starts an LZ4 frame: magic; version 1, independent blocks, no checksums, no content size;
// blocks of at most 64 KiB (blockBytes); header checksum. Independent blocks are all that Kafka's reader
// (Lz4BlockInputStream) takes. Read only.
var lz4Header = []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82}

// lz4Stored marks a block that is not compressed.
const lz4Stored = 1 << 31

func (s *Scratch) compressSnappy(b *Batch) error {
	raw := b.size - Overhead
	s.dst = append(slices.Grow(s.dst[:0], len(xerialHeader)+raw+4+s2.MaxEncodedLen(blockBytes)), xerialHeader...)
	for off := Overhead; off < b.size; off += blockBytes {
		src := s.block(b, off, min(blockBytes, b.size-off))
		at := len(s.dst) + 4
		enc := s2.EncodeSnappy(s.dst[at:cap(s.dst)], src) // in place: there is room for MaxEncodedLen
		s.dst = s.dst[:at+len(enc)]
		binary.BigEndian.PutUint32(s.dst[at-4:], uint32(len(enc)))
		if len(s.dst) >= raw {
			return errNotSmaller
		}
	}
	return nil
}

func (s *Scratch) compressLZ4(b *Batch) error {
	if s.lz4 == nil {
		s.lz4 = new(lz4.Compressor)
	}
	raw := b.size - Overhead
	s.dst = append(slices.Grow(s.dst[:0], len(lz4Header)+raw+8+lz4.CompressBlockBound(blockBytes)), lz4Header...)
	for off := Overhead; off < b.size; off += blockBytes {
		src := s.block(b, off, min(blockBytes, b.size-off))
		at := len(s.dst) + 4
		n, err := s.lz4.CompressBlock(src, s.dst[at:cap(s.dst)])
		if err != nil {
			return err
		}
		mark := uint32(n)
		if n == 0 || n >= len(src) { // the block does not get smaller
			n = copy(s.dst[at:cap(s.dst)], src)
			mark = uint32(n) | lz4Stored
		}
		s.dst = s.dst[:at+n]
		binary.LittleEndian.PutUint32(s.dst[at-4:], mark)
		if len(s.dst) >= raw {
			return errNotSmaller
		}
	}
	s.dst = append(s.dst, 0, 0, 0, 0) // end mark
	return nil
}
