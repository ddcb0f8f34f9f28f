package recordbatch

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestStamp(t *testing.T) {
	p := NewPool(32 * ChunkSize)
	for _, size := range []int{100, ChunkSize, 100_000, -100, -ChunkSize, -100_000, -16 * ChunkSize} { // negative: summed early
		if p.sumEarly = size < 0; p.sumEarly {
			size = -size
		}
		b := p.NewBatch(8)
		recs := fill(t, b, size)
		if early := b.sum.end > 0; early != (p.sumEarly && size > earlyChunks*ChunkSize) {
			t.Fatalf("%d bytes, summed early up to %d", size, b.sum.end)
		}
		if _, _, _, ok := b.Stamped(); ok {
			t.Fatal("stamped before Stamp")
		}
		first := []byte(nil)
		for _, s := range []struct {
			pid   int64
			epoch int16
			seq   int32
		}{{1, 0, 0}, {1 << 40, 7, 1<<31 - 1}, {-1, -1, -1}, {9, 9, 9}, {1, 0, 0}} {
			b.Stamp(s.pid, s.epoch, s.seq)
			if pid, epoch, seq, ok := b.Stamped(); pid != s.pid || epoch != s.epoch || seq != s.seq || !ok {
				t.Fatalf("Stamped is %d %d %d %v, want %+v", pid, epoch, seq, ok, s)
			}
			wire := b.AppendTo(nil)
			var rb kmsg.RecordBatch
			if err := rb.ReadFrom(wire[4:]); err != nil {
				t.Fatal(err)
			}
			if rb.ProducerID != s.pid || rb.ProducerEpoch != s.epoch || rb.FirstSequence != s.seq {
				t.Fatalf("on the wire: %d %d %d, want %+v", rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence, s)
			}
			if got, want := uint32(rb.CRC), crc32.Checksum(wire[25:], crc32.MakeTable(crc32.Castagnoli)); got != want {
				t.Fatalf("CRC is %08x, want %08x", got, want)
			}
			checkWire(t, b, recs)
			if first == nil {
				first = wire
			}
		}
		if !bytes.Equal(first, b.AppendTo(nil)) {
			t.Fatal("the same stamp gives other bytes")
		}
		b.Release()
	}
}

func TestJoinedCRCs(t *testing.T) {
	buf := make([]byte, 300_000)
	for i := range buf {
		buf[i] = byte(i * i >> 3)
	}
	for _, end := range []int{0, 1, 7, 40, 4096, 70_001, len(buf)} {
		want := crc32.Checksum(buf[:end], castagnoli)
		for _, cut := range []int{0, 1, 3, 40, 4095, 65_536, end} {
			if cut > end {
				continue
			}
			s := sum{crc: crc32.Checksum(buf[cut:end], castagnoli), end: Overhead + end - cut}
			if got := s.behind(crc32.Checksum(buf[:cut], castagnoli)); got != want {
				t.Errorf("%d bytes cut at %d: %08x, want %08x", end, cut, got, want)
			}
		}
	}
}

func TestUnstampedBatchIsWrittenWithoutProducer(t *testing.T) {
	b := NewPrivateBatch(1000)
	recs := fill(t, b, 300)
	wire := b.AppendTo(nil)
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(wire[4:]); err != nil {
		t.Fatal(err)
	}
	if rb.ProducerID != -1 || rb.ProducerEpoch != -1 || rb.FirstSequence != -1 {
		t.Fatalf("producer %d %d %d", rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence)
	}
	if _, _, _, ok := b.Stamped(); ok {
		t.Fatal("that is no stamp")
	}
	checkWire(t, b, recs)
	if err := b.Compress(Snappy, new(Scratch)); err != nil { // may follow: it was not sent
		t.Fatal(err)
	}
	checkWire(t, b, recs)
}

// The exact bytes of a known batch, worked out by hand from the protocol guide.
func TestGoldenBytes(t *testing.T) {
	b := NewPrivateBatch(100)
	b.TryAppend(1000, []byte("k"), []byte("v"), nil)
	b.TryAppend(998, nil, []byte("wx"), nil)
	b.Stamp(0x0102030405060708, 0x0a0b, 0x0c0d0e0f)
	records := []byte{
		16, 0, 0, 0, 2, 'k', 2, 'v', 0, // length 8: attributes, delta 0, offset 0, key, value, no headers
		16, 0, 3, 2, 1, 4, 'w', 'x', 0, // delta -2, offset 1, null key
	}
	want := []byte{0, 0, 0, 61 + 18}
	want = append(want, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 49+18, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	want = append(want, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0, 0, 3, 0xe8)
	want = append(want, 1, 2, 3, 4, 5, 6, 7, 8, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0, 0, 0, 2)
	want = append(want, records...)
	binary.BigEndian.PutUint32(want[21:], crc32.Checksum(want[25:], crc32.MakeTable(crc32.Castagnoli)))
	if got := b.AppendTo(nil); !bytes.Equal(got, want) {
		t.Fatalf("got\n% x\nwant\n% x", got, want)
	}
}

// TestWireChecksum: it is that of the bytes as they are, and the stamp after it is right.
func TestWireChecksum(t *testing.T) {
	for _, size := range []int{100, ChunkSize - 1, 2 * ChunkSize, 5*ChunkSize - 3, 5 * ChunkSize, 9*ChunkSize + 77} {
		for _, codec := range []Codec{None, Snappy} {
			b := NewPrivateBatch(size)
			recs := fill(t, b, size)
			if err := b.Compress(codec, new(Scratch)); err != nil {
				t.Fatal(err)
			}
			b.SealUnstamped()
			for range 2 {
				if got, want := b.WireChecksum(), crc32.Checksum(bytes.Join(b.Parts(nil), nil), castagnoli); got != want {
					t.Errorf("%d bytes, %v: %08x, want %08x", size, codec, got, want)
				}
			}
			b.Stamp(7, 1, 3)
			checkWire(t, b, recs)
			if got, want := b.WireChecksum(), crc32.Checksum(bytes.Join(b.Parts(nil), nil), castagnoli); got != want {
				t.Errorf("%d bytes, %v, stamped: %08x, want %08x", size, codec, got, want)
			}
		}
	}
}
