package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

type regionKind uint8

const (
	regionFrame   regionKind = iota // a whole frame
	regionGap                       // frames that are done; nothing in there
	regionCorrupt                   // bytes that are no frame
	regionTorn                      // the end of the file: a frame that was not written whole, or zeros
	regionEnd                       // the end mark, and what the file had in it before
)

// region is a piece of a segment. Regions follow each other without a hole up to the end of the file.
type region struct {
	kind   regionKind
	known  bool // header and topic are of an undamaged header; always with regionFrame and regionGap
	header frameHeader
	topic  []byte // valid until the next call of next
	// replaces is what the frame stands for, which may still be there; 0: nothing.
	replaces Pos
	off      int64
	length   int64
}

// scanWindow is the memory of a scan in bytes; it holds any header with its topic.
const scanWindow = 64 << 10

// unreadable is how much is given up when the disk cannot read a place: a file system block.
const unreadable = 4096

// scanner walks a segment from off on. It never fails: what is no frame is a region of another kind.
//
// A frame's header has a checksum of its own, so its length can be trusted also when the batch is
// damaged: only that frame is lost. After a damaged header the scanner looks for the next one by magic
// and salt; the salt is random and unknown to the sender of the events, and a header names its own
// offset, so nothing within a batch passes for a frame.
type scanner struct {
	r    io.ReaderAt
	size int64
	salt uint64
	off  int64
	// skip says that a frame's batch needs no check, since it is done.
	skip func(h *frameHeader, topic []byte) bool
	// strict: the first read error, other than the end of the file, ends the scan and is kept in err.
	strict bool
	err    error
	errOff int64

	buf    []byte
	bufOff int64
	key    [searchBytes]byte
	topic  [maxTopicBytes]byte
}

// name splits what is behind a header into the topic and, of a kindPlaced, the position.
func (h *frameHeader) name(p []byte) (topic []byte, replaces Pos) {
	topic = p[:h.topicLen]
	if h.kind == kindPlaced {
		replaces = Pos(binary.LittleEndian.Uint64(p[h.topicLen:]))
	}
	return topic, replaces
}

// start begins a scan behind the segment's header.
func (sc *scanner) start(r io.ReaderAt, size int64, salt uint64) {
	if sc.buf == nil {
		sc.buf = make([]byte, 0, scanWindow)
	}
	sc.r, sc.size, sc.salt, sc.off = r, size, salt, segmentHeaderBytes
	sc.buf, sc.bufOff = sc.buf[:0], 0
	putSearchKey(sc.key[:], salt)
}

// at returns up to n bytes at off, fewer at the end of the file.
func (sc *scanner) at(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), sc.size-off))
	if n <= 0 {
		return nil, nil
	}
	if i := off - sc.bufOff; i >= 0 && i+int64(n) <= int64(len(sc.buf)) {
		return sc.buf[i : i+int64(n)], nil
	}
	want := int(min(int64(cap(sc.buf)), sc.size-off))
	m, err := sc.r.ReadAt(sc.buf[:want], off)
	sc.buf, sc.bufOff = sc.buf[:m], off
	if m >= n {
		return sc.buf[:n], nil
	}
	if errors.Is(err, io.EOF) { // shorter than it was
		sc.size = off + int64(m)
		return sc.buf, nil
	}
	if sc.strict && sc.err == nil {
		sc.err, sc.errOff = err, off
	}
	return nil, err
}

// next returns the next region; false at the end.
func (sc *scanner) next() (region, bool) {
	if sc.off >= sc.size {
		return region{}, false
	}
	r := region{off: sc.off}
	head, err := sc.at(sc.off, frameHeaderBytes)
	switch {
	case err == nil && r.header.parse(head, sc.salt, sc.off):
		sc.frame(&r)
	case err == nil && sc.torn(head):
		r.kind, sc.off = regionTorn, sc.size
	default:
		r.kind, sc.off = regionCorrupt, sc.search(sc.off+1)
	}
	r.length = sc.off - r.off
	return r, r.length > 0 && sc.err == nil
}

// frame judges what follows an undamaged header.
func (sc *scanner) frame(r *region) {
	h := &r.header
	end := sc.off + h.size()
	if end > sc.size {
		r.kind, sc.off = regionTorn, sc.size
		return
	}
	body := sc.off + frameHeaderBytes
	sc.off = end
	switch h.kind {
	case kindGap:
		r.kind, r.known = regionGap, true
		return
	case kindEnd:
		r.kind, sc.off = regionEnd, sc.size
		return
	}
	name, err := sc.at(body, int(h.topicLen)+h.extra())
	if err != nil || h.topicLen > maxTopicBytes || checksum(name) != h.topicCRC {
		sc.damaged(r)
		return
	}
	topic, replaces := h.name(name)
	r.known, r.topic, r.replaces = true, topic, replaces
	if sc.skip != nil && sc.skip(h, topic) {
		return
	}
	// The check may move the window that topic lies in.
	r.topic = append(sc.topic[:0], topic...)
	if !sc.batchIntact(body+int64(len(name)), h) {
		sc.damaged(r)
	}
}

// damaged judges a frame whose header is good and whose rest is not. Each write of a frame ends with an
// end mark: without one behind it, or another frame, the process ended within the write.
func (sc *scanner) damaged(r *region) {
	r.kind = regionCorrupt
	if sc.off < sc.size && sc.search(sc.off) == sc.size {
		r.kind, sc.off = regionTorn, sc.size
	}
}

func (sc *scanner) batchIntact(off int64, h *frameHeader) bool {
	crc, left := uint32(0), int64(h.batchLen)
	for left > 0 {
		p, err := sc.at(off, int(min(left, scanWindow)))
		if err != nil || len(p) == 0 {
			return false
		}
		crc = updateChecksum(crc, p)
		off += int64(len(p))
		left -= int64(len(p))
	}
	return crc == h.batchCRC
}

// torn tells a frame that was not written whole from a damaged one, given the bytes where its header
// should be: either they are fewer than a header, or everything up to the end is zero (the file system
// noted the new length and not the bytes). A damaged whole frame is never taken for torn.
func (sc *scanner) torn(head []byte) bool {
	if len(head) < frameHeaderBytes {
		n := min(len(head), searchBytes)
		return bytes.Equal(head[:n], sc.key[:n]) || sc.zeros(sc.off)
	}
	return head[0] == 0 && sc.zeros(sc.off) || sc.cutInHeader(head)
}

// cutInHeader reports whether a kill cut a write within the header of a frame or of the end mark: the kernel copies page
// by page, so up to the page's end there is the new header, and behind it what was there before: the end mark that
// the first frame is written over, or, of a frame behind it, what the file had in it under another salt. A write that
// was not cut has a good end mark behind it.
func (sc *scanner) cutInHeader(head []byte) bool {
	const page, offset = 4096, 16
	k := int(page - sc.off%page)
	if k >= frameHeaderBytes {
		return false
	}
	n := min(k, searchBytes)
	return bytes.Equal(head[:n], sc.key[:n]) &&
		(k < offset+4 || binary.LittleEndian.Uint32(head[offset:]) == uint32(sc.off)) && sc.search(sc.off+1) == sc.size
}

// begun reports whether there is anything in the segment that carries its salt.
func (sc *scanner) begun() bool { return sc.search(segmentHeaderBytes) < sc.size }

// zeros reports whether there is nothing but zeros from off on.
func (sc *scanner) zeros(off int64) bool {
	for off < sc.size {
		p, err := sc.at(off, scanWindow)
		if err != nil {
			return false
		}
		if bytes.Count(p, []byte{0}) != len(p) { // faster than a loop
			return false
		}
		off += int64(len(p))
	}
	return true
}

// search returns where the next undamaged header starts at or behind from, else the size.
func (sc *scanner) search(from int64) int64 {
	var h frameHeader
	for from < sc.size {
		p, err := sc.at(from, scanWindow)
		if sc.err != nil {
			return sc.size
		}
		if err != nil {
			from = from/unreadable*unreadable + unreadable
			continue
		}
		i := bytes.Index(p, sc.key[:])
		if i < 0 {
			if from+int64(len(p)) >= sc.size {
				break
			}
			from += int64(len(p)) - int64(searchBytes) + 1
			continue
		}
		from += int64(i)
		if head, err := sc.at(from, frameHeaderBytes); err == nil && h.parse(head, sc.salt, from) {
			return from
		}
		from++
	}
	return sc.size
}
