package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Version is the format this program writes. docs/format/spool.md has it byte by byte.
const Version = 1

const (
	segmentHeaderBytes = 64
	frameHeaderBytes   = 64 // the topic and the batch follow
	maxTopicBytes      = 249
	segmentSuffix      = ".seg"
	freeSuffix         = ".free" // a file whose blocks wait for the next segment

	segmentMagic = "ingspool"
	frameMagic   = "\xf5igf"
	searchBytes  = len(frameMagic) + 8 // magic and salt: what resync looks for

	kindFrame = 1
	kindGap   = 2 // frames that are done and whose blocks were given back
	kindEnd   = 3 // nothing behind it belongs to the segment; the next frame is written over it
	// kindPlaced is a frame with the position of the one that it replaces, which is void until that one is done.
	kindPlaced = 4

	markBytes    = frameHeaderBytes // an end mark is a header alone
	emptySegment = segmentHeaderBytes + markBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // read only

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// segmentName has the salt in it, so that the frames can be told from their contents also when the
// segment's header is damaged.
func segmentName(number uint32, salt uint64) string {
	return fmt.Sprintf("%08x-%016x%s", number, salt, segmentSuffix)
}

// parseSegmentName accepts only what segmentName makes: two names that differ never mean the same segment.
func parseSegmentName(name string) (number uint32, salt uint64, ok bool) {
	base, found := strings.CutSuffix(name, segmentSuffix)
	if !found || len(base) != 8+1+16 || base[8] != '-' {
		return 0, 0, false
	}
	n, err1 := strconv.ParseUint(base[:8], 16, 32)
	salt, err2 := strconv.ParseUint(base[9:], 16, 64)
	number = uint32(n)
	return number, salt, err1 == nil && err2 == nil && n != 0 && segmentName(number, salt) == name
}

// segmentHeader is the start of a segment file. Its first 16 bytes and its length are the same in every
// version, so a program knows a version that it cannot read.
type segmentHeader struct {
	version uint32
	number  uint32
	salt    uint64
	created int64 // ms since the Unix epoch
}

func (h *segmentHeader) put(p *[segmentHeaderBytes]byte) {
	clear(p[:])
	copy(p[:], segmentMagic)
	binary.LittleEndian.PutUint32(p[12:], h.version)
	binary.LittleEndian.PutUint64(p[16:], uint64(h.number))
	binary.LittleEndian.PutUint64(p[24:], h.salt)
	binary.LittleEndian.PutUint64(p[32:], uint64(h.created))
	binary.LittleEndian.PutUint32(p[8:], checksum(p[12:]))
}

// parse reports whether p is an undamaged segment header of any version.
func (h *segmentHeader) parse(p []byte) bool {
	if len(p) < segmentHeaderBytes || string(p[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(p[8:]) != checksum(p[12:segmentHeaderBytes]) {
		return false
	}
	h.version = binary.LittleEndian.Uint32(p[12:])
	h.number = uint32(binary.LittleEndian.Uint64(p[16:]))
	h.salt = binary.LittleEndian.Uint64(p[24:])
	h.created = int64(binary.LittleEndian.Uint64(p[32:]))
	return true
}

// frameHeader is the fixed part of a frame.
type frameHeader struct {
	salt      uint64 // the segment's: what a frame carries can never pass for a frame
	offset    uint32 // its own, in the segment
	batchLen  uint32
	batchCRC  uint32
	kind      uint8
	topicLen  uint8
	partition int32
	topicCRC  uint32
	Meta      // without Replaces: that is behind the topic
}

// replacesBytes is the size of the position behind the topic of a kindPlaced.
const replacesBytes = 8

// extra is how many bytes are between topic and batch.
func (h *frameHeader) extra() int {
	if h.kind == kindPlaced {
		return replacesBytes
	}
	return 0
}

// size is the whole frame's.
func (h *frameHeader) size() int64 {
	return frameHeaderBytes + int64(h.topicLen) + int64(h.extra()) + int64(h.batchLen)
}

func putSearchKey(p []byte, salt uint64) {
	copy(p, frameMagic)
	binary.LittleEndian.PutUint64(p[4:], salt)
}

func (h *frameHeader) put(p []byte) {
	p = p[:frameHeaderBytes]
	le := binary.LittleEndian
	putSearchKey(p, h.salt)
	le.PutUint32(p[16:], h.offset)
	le.PutUint32(p[20:], h.batchLen)
	le.PutUint32(p[24:], h.batchCRC)
	p[28], p[29] = h.kind, h.topicLen
	le.PutUint16(p[30:], h.Partitions)
	le.PutUint32(p[32:], uint32(h.partition))
	le.PutUint32(p[36:], uint32(h.Events))
	le.PutUint32(p[40:], uint32(h.Records))
	le.PutUint32(p[44:], h.topicCRC)
	le.PutUint64(p[48:], uint64(h.FirstTimestamp))
	le.PutUint64(p[56:], uint64(h.WrittenAt))
	le.PutUint32(p[12:], checksum(p[16:]))
}

// parse reports whether p starts with an undamaged header of the frame at offset of the segment with
// that salt.
func (h *frameHeader) parse(p []byte, salt uint64, offset int64) bool {
	if len(p) < frameHeaderBytes {
		return false
	}
	p = p[:frameHeaderBytes]
	le := binary.LittleEndian
	if string(p[:4]) != frameMagic || le.Uint64(p[4:]) != salt ||
		int64(le.Uint32(p[16:])) != offset || le.Uint32(p[12:]) != checksum(p[16:]) {
		return false
	}
	*h = frameHeader{
		salt: salt, offset: le.Uint32(p[16:]), batchLen: le.Uint32(p[20:]), batchCRC: le.Uint32(p[24:]),
		kind: p[28], topicLen: p[29], partition: int32(le.Uint32(p[32:])), topicCRC: le.Uint32(p[44:]),
		Meta: Meta{
			Events: int32(le.Uint32(p[36:])), Records: int32(le.Uint32(p[40:])),
			FirstTimestamp: int64(le.Uint64(p[48:])), WrittenAt: int64(le.Uint64(p[56:])), Partitions: le.Uint16(p[30:]),
		},
	}
	return h.kind >= kindFrame && h.kind <= kindPlaced
}

func updateChecksum(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// putMark writes the end mark of a segment.
func putMark(p []byte, salt uint64, offset int64) {
	h := frameHeader{salt: salt, offset: uint32(offset), kind: kindEnd}
	h.put(p)
}
