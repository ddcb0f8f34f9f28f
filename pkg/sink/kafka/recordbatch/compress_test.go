package recordbatch

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestCodecNames(t *testing.T) {
	for i, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		c, err := ParseCodec(name)
		if err != nil || c != Codec(i) || c.String() != name {
			t.Errorf("ParseCodec(%q) = %v, %v; String %q", name, int8(c), err, c)
		}
	}
	for _, name := range []string{"", "Snappy", "lz5"} {
		if c, err := ParseCodec(name); err == nil {
			t.Errorf("ParseCodec(%q) = %v", name, c)
		}
	}
	if s := Codec(9).String(); s != "codec(9)" {
		t.Errorf("String of an unknown codec is %q", s)
	}
}

// fill appends telemetry until the batch has about size wire bytes.
func fill(t *testing.T, b *Batch, size int) []rec {
	t.Helper()
	var recs []rec
	for _, e := range telemetry(1+size/300, 300) {
		r := rec{testTime + int64(len(recs)), nil, e, nil}
		if !r.appendTo(b) {
			t.Fatal("refused")
		}
		recs = append(recs, r)
	}
	return recs
}

func TestCompressReturnsSurplusChunks(t *testing.T) {
	for _, c := range codecs[1:] {
		for _, size := range []int{300, 5_000, ChunkSize, 60_000, 64 << 10, 256 << 10, 700_000} {
			p := NewPool(64 * ChunkSize)
			b := p.NewBatch(16)
			recs := fill(t, b, size)
			raw := b.Size()
			if err := b.Compress(c, new(Scratch)); err != nil {
				t.Fatal(err)
			}
			if len(recs) > 10 && (b.Codec() != c || b.Size() > raw*2/3) {
				t.Fatalf("%v: %d bytes became %d, codec %v", c, raw, b.Size(), b.Codec())
			}
			if want := chunksFor(b.Size()); b.Chunks() != want || p.InUse() != want {
				t.Fatalf("%v: %d chunks held, %d in use, want %d", c, b.Chunks(), p.InUse(), want)
			}
			size := b.Size()
			if err := b.Compress(c, new(Scratch)); err != nil || b.Size() != size {
				t.Fatalf("%v: a second Compress changed the batch, %v", c, err)
			}
			b.Stamp(1, 1, 1)
			checkWire(t, b, recs)
			b.Release()
		}
	}
}

// A dry pool must not stop a sender: compression is what gives chunks back.
func TestCompressWithDryPool(t *testing.T) {
	for _, c := range codecs[1:] {
		p := NewPool(4 * ChunkSize)
		b := p.NewBatch(4)
		r := rec{testTime, nil, bytes.Repeat([]byte("telemetry "), 4*ChunkSize/10-20), nil}
		if !r.appendTo(b) || p.Free() != 0 {
			t.Fatalf("the batch does not use up the pool: %d free", p.Free())
		}
		if err := b.Compress(c, new(Scratch)); err != nil {
			t.Fatal(err)
		}
		if p.Free() != 3 {
			t.Fatalf("%v: %d chunks free after compression, want 3", c, p.Free())
		}
		checkWire(t, b, []rec{r})
	}
}

func TestIncompressibleStaysUncompressed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var s Scratch
	for _, c := range codecs {
		for _, size := range []int{0, 1, 30, 1000, 64 << 10, 200_000} {
			p := NewPool(32 * ChunkSize)
			b := p.NewBatch(16)
			x := rec{testTime, nil, make([]byte, size), nil}
			for i := range x.value {
				x.value[i] = byte(r.Uint32())
			}
			if !x.appendTo(b) {
				t.Fatal("refused")
			}
			raw := b.Size()
			if err := b.Compress(c, &s); err != nil {
				t.Fatal(err)
			}
			if b.Codec() != None || b.Size() != raw {
				t.Fatalf("%v: %d random bytes became %d wire bytes, codec %v", c, size, b.Size(), b.Codec())
			}
			b.Stamp(1, 1, 1)
			checkWire(t, b, []rec{x})
			b.Release()
		}
	}
}

// An incompressible half makes single blocks grow while the whole shrinks.
func TestStoredBlocksAmongOthers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	random := make([]byte, 150_000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	for _, c := range codecs[1:] {
		b := NewPrivateBatch(500_000)
		recs := []rec{
			{testTime, nil, bytes.Repeat([]byte("a line of a log\n"), 10_000), nil},
			{testTime, nil, random, nil},
			{testTime, nil, bytes.Repeat([]byte("another line\n"), 10_000), nil},
		}
		for _, x := range recs {
			if !x.appendTo(b) {
				t.Fatal("refused")
			}
		}
		if err := b.Compress(c, new(Scratch)); err != nil {
			t.Fatal(err)
		}
		if b.Codec() != c || b.Chunks() > 12 {
			t.Fatalf("codec %v, %d chunks", b.Codec(), b.Chunks())
		}
		checkWire(t, b, recs)
	}
}

func TestCompressUnknownCodec(t *testing.T) {
	b := NewPrivateBatch(1000)
	recs := fill(t, b, 300)
	if err := b.Compress(Codec(7), new(Scratch)); err == nil {
		t.Fatal("no error")
	}
	checkWire(t, b, recs) // still whole
}

func TestScratchLetsGoOfWhatOneOversizeEventNeeded(t *testing.T) {
	var s Scratch
	for _, c := range codecs[1:] {
		b := NewPrivateBatch(5 << 20)
		recs := []rec{{testTime, nil, bytes.Repeat([]byte("0123456789abcdef"), 5<<16), nil}}
		if !recs[0].appendTo(b) {
			t.Fatal("refused")
		}
		if err := b.Compress(c, &s); err != nil {
			t.Fatal(err)
		}
		if cap(s.src) > maxScratchBytes || cap(s.dst) > maxScratchBytes {
			t.Fatalf("%v: scratch keeps %d and %d bytes", c, cap(s.src), cap(s.dst))
		}
		compare(t, c.String(), decodeOwn(t, b), recs)
	}
}
