package recordbatch

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"runtime"
	"slices"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

// frame puts a valid header in front of records, whatever they are.
func frame(c Codec, count int32, records []byte) []byte {
	wire := append(make([]byte, Overhead), records...)
	be := binary.BigEndian
	be.PutUint32(wire[offSize:], uint32(len(wire)-4))
	be.PutUint32(wire[offBatchLength:], uint32(len(wire)-16))
	wire[offMagic] = 2
	be.PutUint16(wire[offAttributes:], uint16(c))
	be.PutUint32(wire[offLastDelta:], uint32(count-1))
	be.PutUint32(wire[offCount:], uint32(count))
	be.PutUint32(wire[offCRC:], crc32.Checksum(wire[offAttributes:], castagnoli))
	return wire
}

func ignore(int64, []byte, []byte, []sink.Header) bool { return true }

func TestRecordsStopsWhenYieldSaysSo(t *testing.T) {
	b := NewPrivateBatch(10_000)
	fill(t, b, 5_000)
	n := 0
	if err := b.Records(func(int64, []byte, []byte, []sink.Header) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Fatalf("%d records, %v", n, err)
	}
}

func TestRecordsOfAnEmptyBatch(t *testing.T) {
	p := NewPool(ChunkSize)
	if err := p.NewBatch(1).Records(func(int64, []byte, []byte, []sink.Header) bool { t.Fatal("a record"); return false }); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenRecords(t *testing.T) {
	good := []byte{16, 0, 0, 0, 2, 'k', 2, 'v', 0}
	if err := Decode(frame(None, 1, good), 1000, ignore); err != nil {
		t.Fatal(err)
	}
	long := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}
	for name, records := range map[string][]byte{
		"too few":             {16, 0, 0, 0, 2, 'k', 2, 'v'},
		"trailing":            append(slices.Clone(good), 0),
		"negative length":     {1, 0, 0, 0, 2, 'k', 2, 'v', 0},
		"length too large":    {18, 0, 0, 0, 2, 'k', 2, 'v', 0},
		"length too small":    {14, 0, 0, 0, 2, 'k', 2, 'v', 0},
		"varint too long":     long,
		"wrong offset":        {16, 0, 0, 2, 2, 'k', 2, 'v', 0},
		"key too long":        {16, 0, 0, 0, 100, 'k', 2, 'v', 0},
		"key length -2":       {16, 0, 0, 0, 3, 'k', 2, 'v', 0},
		"value too long":      {16, 0, 0, 0, 2, 'k', 100, 'v', 0},
		"header count -1":     {16, 0, 0, 0, 2, 'k', 2, 'v', 1},
		"header count":        {16, 0, 0, 0, 2, 'k', 2, 'v', 2},
		"huge header count":   {24, 0, 0, 0, 2, 'k', 2, 'v', 0xfe, 0xff, 0xff, 0xff, 0x0f},
		"null header key":     {20, 0, 0, 0, 2, 'k', 2, 'v', 2, 1, 0},
		"header value length": {20, 0, 0, 0, 2, 'k', 2, 'v', 2, 0, 9},
	} {
		if err := Decode(frame(None, 1, records), 1000, ignore); err == nil {
			t.Errorf("%s: no error", name)
		}
		b := NewPrivateBatch(len(records))
		if ok, err := b.TryLoad(frame(None, 1, records)); !ok || err != nil {
			t.Fatalf("%s: TryLoad %v %v", name, ok, err)
		}
		if err := b.Records(ignore); err == nil {
			t.Errorf("%s: no error from a loaded batch", name)
		}
	}
}

// Every truncation and every flipped byte of compressed records is an error or, where the codec has no
// checksum, other records; never a panic.
func TestDamagedCompressedRecords(t *testing.T) {
	for _, c := range codecs {
		b := NewPrivateBatch(3_000)
		recs := fill(t, b, 1_500)
		if err := b.Compress(c, new(Scratch)); err != nil {
			t.Fatal(err)
		}
		raw := b.AppendTo(nil)[Overhead:]
		for i := range raw {
			if err := Decode(frame(c, int32(len(recs)), raw[:i]), 10_000, ignore); err == nil && i < len(raw)/2 {
				t.Fatalf("%v: %d of %d bytes decode without an error", c, i, len(raw))
			}
			for _, x := range []byte{1, 0x80, 0xff} {
				damaged := slices.Clone(raw)
				damaged[i] ^= x
				_ = Decode(frame(c, int32(len(recs)), damaged), 10_000, ignore)
			}
		}
	}
}

// Small frames that claim, or truly hold, a lot: the memory taken stays near the limit, and for a mere
// claim far below it.
func TestHostileFramesAreBounded(t *testing.T) {
	const limit = 1 << 20
	// io.ReadAll's steps sum up to a small multiple; the decoders have tables and a window.
	const reading, claiming = 8*limit + 2*maxZstdWindow, limit / 2
	check := func(name string, wire []byte, bound uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := Decode(wire, limit, ignore)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > bound {
			t.Errorf("%s: %d bytes of wire took %d bytes of memory", name, len(wire), got)
		}
	}
	for _, c := range codecs[1:] {
		b := NewPrivateBatch(16 << 20)
		b.TryAppend(0, nil, make([]byte, 16<<20-1000), nil)
		if err := b.Compress(c, new(Scratch)); err != nil {
			t.Fatal(err)
		}
		check(c.String(), b.AppendTo(nil), reading)
	}
	xerial := func(tail ...byte) []byte { return append(slices.Clone(xerialHeader), tail...) }
	check("snappy", frame(Snappy, 1, binary.AppendUvarint(nil, math.MaxUint32)), claiming)
	check("snappy within the limit", frame(Snappy, 1, binary.AppendUvarint(nil, limit)), claiming)
	check("xerial", frame(Snappy, 1, xerial(0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f)), claiming)
	check("xerial within the limit", frame(Snappy, 1, xerial(0, 0, 0, 3, 0xff, 0xff, 0x3f)), claiming)
	check("xerial block size", frame(Snappy, 1, xerial(0xff, 0xff, 0xff, 0xff, 1)), claiming)
	check("record count", frame(None, math.MaxInt32, []byte{12, 0, 0, 0, 1, 0, 0}), claiming)
	// magic; a single segment with an 8-byte content size of 2^40; a block
	check("zstd size", frame(Zstd, 1, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 9, 0, 0, 'x'}), reading)
	// magic; a window of 256 MiB; a block
	check("zstd window", frame(Zstd, 1, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x90, 9, 0, 0, 'x'}), reading)
}

// FuzzRecords: no input makes Records panic or return more than the limit.
func FuzzRecords(f *testing.F) {
	for _, c := range codecs {
		b := NewPrivateBatch(2_000)
		for i, e := range telemetry(4, 300) {
			b.TryAppend(testTime+int64(i), e[:10], e, []sink.Header{{Key: "h", Value: e[:5]}})
		}
		if err := b.Compress(c, new(Scratch)); err != nil {
			f.Fatal(err)
		}
		f.Add(int8(c), int32(4), b.AppendTo(nil)[Overhead:])
	}
	f.Add(int8(2), int32(1), []byte{16, 0, 0, 0, 2, 'k', 2, 'v', 0})
	f.Fuzz(func(t *testing.T, c int8, count int32, records []byte) {
		const limit = 1 << 20
		wire := frame(Codec(c), count, records)
		sum := 0
		check := func(_ int64, key, value []byte, headers []sink.Header) bool {
			sum += len(key) + len(value)
			for _, h := range headers {
				sum += len(h.Key) + len(h.Value)
			}
			return true
		}
		err := Decode(wire, limit, check)
		if sum > max(limit, len(records)) {
			t.Fatalf("%d bytes of records, limit %d", sum, limit)
		}
		_ = Decode(records, limit, ignore) // as a whole frame
		b := NewPrivateBatch(len(records))
		ok, loadErr := b.TryLoad(wire)
		if !ok || loadErr != nil {
			if err == nil {
				t.Fatalf("Decode takes what TryLoad does not: %v %v", ok, loadErr)
			}
			return
		}
		if err == nil {
			if err := b.Records(ignore); err != nil {
				t.Fatalf("Records after TryLoad: %v", err)
			}
		}
	})
}
