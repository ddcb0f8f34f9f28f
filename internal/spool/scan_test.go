package spool

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"testing"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// appendFrame appends a whole frame to a segment.
func appendFrame(segment []byte, salt uint64, topic string, partition int32, m Meta, batch []byte) []byte {
	h := frameHeader{
		salt: salt, offset: uint32(len(segment)), batchLen: uint32(len(batch)), batchCRC: checksum(batch), kind: kindFrame,
		topicLen: uint8(len(topic)), partition: partition, topicCRC: checksum([]byte(topic)), Meta: m,
	}
	var head [frameHeaderBytes]byte
	h.put(head[:])
	return append(append(append(segment, head[:]...), topic...), batch...)
}

func newSegmentBytes(salt uint64) []byte {
	var head [segmentHeaderBytes]byte
	h := segmentHeader{version: Version, number: 7, salt: salt, created: 1_700_000_000_000}
	h.put(&head)
	return head[:]
}

// TestFormat: the bytes on disk are what docs/format/spool.md says; another program can rely on them.
func TestFormat(t *testing.T) {
	segment := appendFrame(newSegmentBytes(0x1122334455667788), 0x1122334455667788, "topic", 3,
		Meta{Events: 5, Records: 6, FirstTimestamp: 7, WrittenAt: 8}, []byte("batch"))
	var slot [cursorCopyBytes]byte
	c := progress{seq: 2, done: diskqueue.PosOf(7, 64), doubt: diskqueue.PosOf(7, 138), suspect: diskqueue.PosOf(7, 200),
		stamp: Stamp{ProducerID: 9, Epoch: 10, BaseSequence: 11, FirstSent: 12}}
	c.put(slot[:], "topic", 3)
	var head [cursorHeaderBytes]byte
	putCursorHeader(&head, cursorHeader{version: Version, state: stateClosed, boot: "boot"})
	for name, x := range map[string]struct {
		got  []byte
		want string
	}{
		"segment": {segment, goldenSegment},
		"slot":    {bytes.TrimRight(slot[:], "\x00"), goldenSlot},
		"header":  {bytes.TrimRight(head[:], "\x00"), goldenHeader},
	} {
		if got := hex.EncodeToString(x.got); got != x.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, x.want)
		}
	}
}

// TestExtremes: every field comes back with its extreme values.
func TestExtremes(t *testing.T) {
	for _, m := range []Meta{{}, {Events: math.MaxInt32, Records: math.MaxInt32, FirstTimestamp: math.MaxInt64, WrittenAt: math.MaxInt64, Partitions: math.MaxUint16},
		{Events: math.MinInt32, Records: -1, FirstTimestamp: math.MinInt64, WrittenAt: -1}} {
		for _, partition := range []int32{0, math.MaxInt32, -1} {
			segment := appendFrame(newSegmentBytes(1), 1, "", partition, m, nil)
			var sc scanner
			sc.start(bytes.NewReader(segment), int64(len(segment)), 1)
			r, ok := sc.next()
			if !ok || r.kind != regionFrame || r.header.Meta != m || r.header.partition != partition || len(r.topic) != 0 {
				t.Errorf("%+v: %+v", m, r)
			}
		}
	}
}

// TestFramesWithinFrames: a batch that has frames in it, of this segment's very salt or another one,
// does not add frames, also not when the header of its own frame is damaged.
func TestFramesWithinFrames(t *testing.T) {
	const salt = 42
	for _, inner := range []uint64{salt, 43} {
		nested := appendFrame(make([]byte, 64), inner, "topic", 1, Meta{Events: 9}, []byte("forged"))[64:]
		segment := appendFrame(newSegmentBytes(salt), salt, "topic", 1, Meta{}, bytes.Repeat(nested, 50))
		after := int64(len(segment))
		segment = appendFrame(segment, salt, "topic", 1, Meta{Events: 1}, []byte("next"))
		segment[70] ^= 1
		var sc scanner
		sc.start(bytes.NewReader(segment), int64(len(segment)), salt)
		first, _ := sc.next()
		second, _ := sc.next()
		if first.kind != regionCorrupt || second.kind != regionFrame || second.off != after || second.header.Events != 1 {
			t.Errorf("%+v, %+v", first, second)
		}
	}
}

// FuzzScan: whatever the bytes, the regions cover them without a hole, and every frame is one whose
// checksums hold.
func FuzzScan(f *testing.F) {
	segment := newSegmentBytes(1)
	segment = appendFrame(segment, 1, "topic", 1, Meta{Events: 1}, []byte("some batch"))
	segment = appendFrame(segment, 1, "topic", 2, Meta{Events: 2}, bytes.Repeat([]byte("x"), 300))
	f.Add(segment, uint16(0), byte(0))
	f.Add(segment, uint16(70), byte(1))
	f.Add(segment[:len(segment)-7], uint16(150), byte(255))
	f.Add(append(segment, make([]byte, 100)...), uint16(1), byte(1))
	f.Fuzz(func(t *testing.T, p []byte, at uint16, mask byte) {
		if int(at) < len(p) {
			p = bytes.Clone(p)
			p[at] ^= mask
		}
		var sc scanner
		sc.start(bytes.NewReader(p), int64(len(p)), 1)
		end := int64(segmentHeaderBytes)
		for {
			r, ok := sc.next()
			if !ok {
				break
			}
			if r.off != end || r.length <= 0 {
				t.Fatalf("a region at %d with %d bytes, behind %d", r.off, r.length, end)
			}
			end += r.length
			if r.kind != regionFrame {
				continue
			}
			again := appendFrame(p[:r.off:r.off], 1, string(r.topic), r.header.partition, r.header.Meta, p[end-int64(r.header.batchLen):end])
			again[r.off+30], again[r.off+31] = p[r.off+30], p[r.off+31]
			if !bytes.Equal(again[r.off+16:], p[r.off+16:end]) {
				t.Fatalf("the frame at %d is not what its header says", r.off)
			}
		}
		if end != max(int64(len(p)), segmentHeaderBytes) {
			t.Fatalf("the regions end at %d of %d", end, len(p))
		}
	})
}

// FuzzCursors: whatever the bytes, reading the cursor file ends and yields only what is under a checksum.
func FuzzCursors(f *testing.F) {
	var slot [cursorCopyBytes]byte
	c := progress{seq: 1, done: 5}
	c.put(slot[:], "topic", 3)
	f.Add(append(make([]byte, cursorHeaderBytes), slot[:]...))
	f.Fuzz(func(t *testing.T, p []byte) {
		_, err := readCursors(bytes.NewReader(p), int64(len(p)), func(topic []byte, id int32, c cursor) {
			var out [cursorCopyBytes]byte
			c.put(out[:], string(topic), id)
			if len(topic) > maxTopicBytes {
				t.Fatalf("topic of %d bytes", len(topic))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestCutInHeader: a kill at a page's end within a frame's header leaves a part of it over the end mark.
func TestCutInHeader(t *testing.T) {
	const salt = 0x1122334455667788
	m := Meta{Events: 1, Records: 2, FirstTimestamp: 1_700_000_000_000, WrittenAt: 1_700_000_000_000}
	for _, part := range []int{1, 3, 12, 13, 40, 56, 57, 63} { // bytes of the header before the page's end
		segment := newSegmentBytes(salt)
		room := 4096 - part - len(segment) - frameHeaderBytes - len("topic")
		segment = appendFrame(segment, salt, "topic", 3, m, make([]byte, room))
		at := len(segment)
		next := appendFrame(segment[:at:at], salt, "topic", 3, m, []byte("batch"))[at:]
		var mark [markBytes]byte
		putMark(mark[:], salt, int64(at))
		cut := append(bytes.Clone(next[:part]), mark[part:]...)
		former := make([]byte, 300) // what the file had in it before
		for i := range former {
			former[i] = 0xf5
		}
		scan := func(tail ...[]byte) (kinds []regionKind) {
			file := bytes.Join(append([][]byte{segment}, tail...), nil)
			var sc scanner
			sc.start(bytes.NewReader(file), int64(len(file)), salt)
			for r, ok := sc.next(); ok; r, ok = sc.next() {
				kinds = append(kinds, r.kind)
			}
			return kinds
		}
		if bytes.Equal(cut, mark[:]) { // nothing differs yet
			continue
		}
		if got := scan(cut, former); !slices.Equal(got, []regionKind{regionFrame, regionTorn}) {
			t.Errorf("cut after %d bytes: %v", part, got)
		}
		// A whole frame with a damaged header is not taken for that.
		damaged := bytes.Clone(next)
		damaged[5] ^= 1
		putMark(mark[:], salt, int64(at+len(next)))
		if got := scan(damaged, mark[:]); len(got) < 2 || got[1] != regionCorrupt {
			t.Errorf("damaged: %v", got)
		}
	}
}
