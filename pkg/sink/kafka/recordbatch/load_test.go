package recordbatch

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

func TestLoad(t *testing.T) {
	p := NewPool(64 * ChunkSize)
	for _, c := range codecs {
		src := p.NewBatch(16)
		recs := fill(t, src, 100_000)
		if err := src.Compress(c, new(Scratch)); err != nil {
			t.Fatal(err)
		}
		src.Stamp(7, 8, 9)
		wire := src.AppendTo(nil)

		b := p.NewBatch(1)
		if ok, err := b.TryLoad(wire); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if b.Size() != src.Size() || b.Count() != src.Count() || b.Codec() != c || b.FirstTimestamp() != src.FirstTimestamp() || b.MaxTimestamp() != src.MaxTimestamp() {
			t.Fatalf("loaded %+v", b)
		}
		if _, _, _, ok := b.Stamped(); ok {
			t.Fatal("a loaded batch counts as stamped")
		}
		if err := b.Compress(Zstd, new(Scratch)); err != nil || b.Codec() != c {
			t.Fatalf("Compress changed a loaded batch to %v, %v", b.Codec(), err)
		}
		checkWire(t, b, recs)
		b.Stamp(7, 8, 9)
		if !bytes.Equal(b.AppendTo(nil), wire) {
			t.Fatal("the same stamp gives other bytes")
		}
		b.Release()
		src.Release()
	}
	if p.InUse() != 0 {
		t.Fatalf("%d chunks in use", p.InUse())
	}
}

func TestLoadIntoDryPool(t *testing.T) {
	src := NewPrivateBatch(3 * ChunkSize)
	fill(t, src, 2*ChunkSize)
	wire := src.AppendTo(nil)
	p := NewPool(2 * ChunkSize)
	b := p.NewBatch(1)
	if ok, err := b.TryLoad(wire); ok || err != nil {
		t.Fatal(ok, err)
	}
	if p.InUse() != 0 || b.Size() != Overhead || !b.TryAppend(testTime, nil, []byte("v"), nil) {
		t.Fatal("a refused load changed the batch")
	}
}

func TestLoadChecksTheHeader(t *testing.T) {
	src := NewPrivateBatch(1000)
	fill(t, src, 300)
	wire := src.AppendTo(nil)
	p := NewPool(ChunkSize)
	check := func(name string, wire []byte) {
		b := p.NewBatch(1)
		defer b.Release()
		if ok, err := b.TryLoad(wire); ok || err == nil {
			t.Errorf("%s: loaded", name)
		}
		if b.Size() != Overhead || b.Chunks() != 0 {
			t.Errorf("%s: a refused load changed the batch", name)
		}
	}
	for n := range len(wire) {
		check("truncated", wire[:n])
	}
	check("longer", append(slices.Clone(wire), 0))
	for i := range wire {
		if i >= offBaseOffset && i < offBatchLength || i >= offLeaderEpoch && i < offMagic {
			continue // not covered by the CRC, not looked at
		}
		damaged := slices.Clone(wire)
		damaged[i] ^= 0x10
		check("damaged", damaged)
	}
	for name, change := range map[string]func(w []byte){
		"transactional": func(w []byte) { w[offAttributes+1] |= 0x10 },
		"codec 5":       func(w []byte) { w[offAttributes+1] = 5 },
		"no records":    func(w []byte) { clear(w[offCount : offCount+4]); copy(w[offLastDelta:], "\xff\xff\xff\xff") },
		"last delta":    func(w []byte) { w[offLastDelta+3]++ },
	} {
		w := slices.Clone(wire)
		change(w)
		binary.BigEndian.PutUint32(w[offCRC:], crc32.Checksum(w[offAttributes:], castagnoli))
		check(name, w)
	}
}

// One event may be as large as the largest body. From the disk it can be read like any other, however small it is there.
func TestALargeRecordCanBeReadBack(t *testing.T) {
	value := make([]byte, 65<<20)
	src := NewPrivateBatch(RecordSize(nil, value, nil))
	if !src.TryAppend(testTime, nil, value, nil) {
		t.Fatal("it does not fit")
	}
	if err := src.Compress(Snappy, new(Scratch)); err != nil {
		t.Fatal(err)
	}
	wire := src.AppendTo(nil)
	loaded := NewPrivateBatch(len(wire))
	if ok, err := loaded.TryLoad(wire); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for name, records := range map[string]func(func(int64, []byte, []byte, []sink.Header) bool) error{
		"loaded": loaded.Records,
		"wire": func(yield func(int64, []byte, []byte, []sink.Header) bool) error {
			return Decode(wire, MaxRecordsBytes, yield)
		},
	} {
		n := 0
		err := records(func(_ int64, _, v []byte, _ []sink.Header) bool {
			n += len(v)
			return true
		})
		if err != nil || n != len(value) {
			t.Errorf("%s: %d of %d bytes, %v", name, n, len(value), err)
		}
	}
}
