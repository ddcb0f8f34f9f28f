package recordbatch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

func TestRoundTrip(t *testing.T) {
	header := []sink.Header{{Key: "fn", Value: []byte("resize")}, {Key: "", Value: []byte{}}, {Key: "seq", Value: []byte("17")}}
	long := strings.Repeat("0123456789", 2000) // longer than a chunk
	for name, recs := range map[string][]rec{
		"one":             {{testTime, []byte("k"), []byte("v"), nil}},
		"empty":           {{testTime, nil, []byte{}, nil}, {testTime, []byte{}, []byte{}, nil}},
		"keys":            {{testTime, nil, []byte("a"), nil}, {testTime, []byte{}, []byte("b"), nil}, {testTime, []byte(long), []byte("c"), nil}},
		"headers":         {{testTime, nil, []byte("a"), header}, {testTime, nil, []byte("b"), nil}, {testTime, nil, []byte("c"), header[:1]}},
		"long header":     {{testTime, nil, []byte("a"), []sink.Header{{Key: long, Value: []byte(long)}}}},
		"time runs back":  {{testTime, nil, []byte("a"), nil}, {testTime - 86_400_000, nil, []byte("b"), nil}, {testTime + 5, nil, []byte("c"), nil}},
		"before 1970":     {{-7, nil, []byte("a"), nil}, {-9, nil, []byte("b"), nil}},
		"several chunks":  {{testTime, []byte("a"), []byte(long + long + long), nil}, {testTime, nil, []byte("b"), nil}},
		"ends at a chunk": {{testTime, nil, bytes.Repeat([]byte("x"), ChunkSize-Overhead-10), nil}, {testTime, nil, []byte("b"), nil}},
		"value of a chunk": {
			{testTime, nil, bytes.Repeat([]byte("x"), ChunkSize), nil},
			{testTime, nil, bytes.Repeat([]byte("y"), ChunkSize), nil},
		},
	} {
		for _, c := range codecs {
			t.Run(fmt.Sprintf("%s/%v", name, c), func(t *testing.T) {
				p := NewPool(32 * ChunkSize)
				batches := map[string]*Batch{"pooled": p.NewBatch(1), "private": NewPrivateBatch(sizeOf(recs))}
				for kind, b := range batches {
					for i, r := range recs {
						before := b.Size()
						if !r.appendTo(b) {
							t.Fatalf("%s: record %d refused", kind, i)
						}
						if grown := b.Size() - before; grown > RecordSize(r.key, r.value, r.headers) {
							t.Fatalf("%s: record %d took %d bytes, RecordSize is %d", kind, i, grown, RecordSize(r.key, r.value, r.headers))
						}
					}
					compare(t, kind+" open batch", decodeOwn(t, b), recs)
					if err := b.Compress(c, new(Scratch)); err != nil {
						t.Fatal(err)
					}
					b.Stamp(12345, 3, 77)
					checkWire(t, b, recs)
					b.Release()
				}
				if n := p.InUse(); n != 0 {
					t.Fatalf("%d chunks in use after Release", n)
				}
			})
		}
	}
}

func sizeOf(recs []rec) int {
	n := 0
	for _, r := range recs {
		n += RecordSize(r.key, r.value, r.headers)
	}
	return n
}

// The second record starts so that the chunk border falls behind each of its bytes in turn, and in
// front of and behind it.
func TestChunkBorderAtEveryOffset(t *testing.T) {
	crossing := rec{testTime - 1_000_000, []byte("the-key-of-it"), []byte(strings.Repeat("value ", 30)), []sink.Header{
		{Key: "header-key", Value: []byte("header value")}, {Key: "h2", Value: []byte("v2")},
	}}
	after := rec{testTime + 1, nil, []byte("after"), nil}
	p := NewPool(4 * ChunkSize)
	size := RecordSize(crossing.key, crossing.value, crossing.headers)
	for room := range size + 2 {
		first := rec{testTime, nil, nil, nil}
		// length 3, attributes, timestamp and offset delta, null key, value length 3, header count
		first.value = bytes.Repeat([]byte("f"), ChunkSize-Overhead-11-room)
		recs := []rec{first, crossing, after, crossing}
		b := p.NewBatch(4)
		if !first.appendTo(b) || b.Size() != ChunkSize-room {
			t.Fatalf("the first record ends at %d, want %d", b.Size(), ChunkSize-room)
		}
		for _, r := range recs[1:] {
			if !r.appendTo(b) {
				t.Fatal("refused")
			}
		}
		b.Stamp(1, 0, 0)
		checkWire(t, b, recs)
		b.Release()
	}
}

func TestRandomBatches(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := NewPool(64 * ChunkSize)
	var s Scratch
	for round := range 75 {
		b := p.NewBatch(16)
		var recs []rec
		for n := 1 + r.IntN(60); len(recs) < n; {
			x := randomRecord(r, []int{10, 400, 4000, 40000}[r.IntN(4)])
			if !x.appendTo(b) {
				break
			}
			recs = append(recs, x)
		}
		c := codecs[round%len(codecs)]
		if err := b.Compress(c, &s); err != nil {
			t.Fatal(err)
		}
		pid, epoch, seq := r.Int64(), int16(r.Uint32()), int32(r.Uint32()>>1)
		b.Stamp(pid, epoch, seq)
		checkWire(t, b, recs)
		if b.Count() != len(recs) || b.FirstTimestamp() != recs[0].ts {
			t.Fatalf("Count %d FirstTimestamp %d, want %d %d", b.Count(), b.FirstTimestamp(), len(recs), recs[0].ts)
		}
		b.Release()
	}
	if p.InUse() != 0 {
		t.Fatalf("%d chunks in use at the end", p.InUse())
	}
}

func TestTryAppendAllOrNothing(t *testing.T) {
	p := NewPool(3 * ChunkSize)
	hog := p.NewBatch(1)
	small := rec{testTime, []byte("k"), []byte("small"), nil}
	if !small.appendTo(hog) {
		t.Fatal("refused")
	}
	b := p.NewBatch(2)
	if !small.appendTo(b) {
		t.Fatal("refused")
	}
	open := *b
	before := append([]byte(nil), b.chunks[0][:]...)
	big := rec{testTime + 9, nil, make([]byte, 2*ChunkSize), nil} // needs two more, one is free
	if big.appendTo(b) {
		t.Fatal("taken although the pool is dry")
	}
	if p.Free() != 1 || b.Size() != open.size || b.Count() != 1 || b.MaxTimestamp() != testTime || len(b.tail) != len(open.tail) {
		t.Fatalf("a refused record changed the batch: %+v", b)
	}
	if !bytes.Equal(before, b.chunks[0][:]) {
		t.Fatal("a refused record left bytes behind")
	}
	if !small.appendTo(b) {
		t.Fatal("what fits the open chunk must still be taken")
	}
	hog.Release()
	if !big.appendTo(b) {
		t.Fatal("refused although there is room again")
	}
	checkWire(t, b, []rec{small, small, big})

	empty := p.NewBatch(1)
	if small.appendTo(empty) || empty.Count() != 0 || empty.Size() != Overhead || empty.Chunks() != 0 {
		t.Fatal("an empty batch took a record from a dry pool")
	}
	b.Release()
	if !small.appendTo(empty) {
		t.Fatal("refused")
	}
	checkWire(t, empty, []rec{small})
}

func TestPrivateBatchIsBounded(t *testing.T) {
	r := rec{testTime, []byte("key"), make([]byte, 5*ChunkSize), nil}
	b := NewPrivateBatch(sizeOf([]rec{r}))
	if !b.Private() || !r.appendTo(b) {
		t.Fatal("the record it was made for was refused")
	}
	if r.appendTo(b) {
		t.Fatal("a second record of that size was taken")
	}
	checkWire(t, b, []rec{r})
	b.Release()
}

func TestNilValuesAreEmptyNotNull(t *testing.T) {
	b := NewPrivateBatch(100)
	if !b.TryAppend(testTime, nil, nil, []sink.Header{{Key: "h"}}) {
		t.Fatal("refused")
	}
	b.Stamp(1, 0, 0)
	checkWire(t, b, []rec{{testTime, nil, []byte{}, []sink.Header{{Key: "h", Value: []byte{}}}}})
}

func TestMisusePanics(t *testing.T) {
	p := NewPool(4 * ChunkSize)
	small := rec{testTime, nil, []byte("v"), nil}
	batch := func() *Batch {
		b := p.NewBatch(1)
		small.appendTo(b)
		return b
	}
	for name, misuse := range map[string]func(){
		"append after stamp":    func() { b := batch(); defer b.Release(); b.Stamp(1, 1, 1); small.appendTo(b) },
		"append after compress": func() { b := batch(); defer b.Release(); _ = b.Compress(None, nil); small.appendTo(b) },
		"append after release":  func() { b := batch(); b.Release(); small.appendTo(b) },
		"compress after stamp": func() {
			b := batch()
			defer b.Release()
			b.Stamp(1, 1, 1)
			_ = b.Compress(Snappy, new(Scratch))
		},
		"stamp after release": func() { b := batch(); b.Release(); b.Stamp(1, 1, 1) },
		"double release":      func() { b := batch(); b.Release(); b.Release() },
		"double private":      func() { b := NewPrivateBatch(10); b.Release(); b.Release() },
		"empty":               func() { b := p.NewBatch(1); defer b.Release(); b.Stamp(1, 1, 1) },
		"load into used":      func() { b := batch(); defer b.Release(); _, _ = b.TryLoad(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
	if p.InUse() != 0 {
		t.Fatalf("%d chunks in use", p.InUse())
	}
}

func TestNoAllocations(t *testing.T) {
	p := NewPool(64 * ChunkSize)
	value, key := make([]byte, 300), []byte("69be64a7-0233-11e8-82e4-e5d37911193e")
	headers := []sink.Header{{Key: "fn", Value: []byte("resize")}}
	var r Reader
	var s Scratch
	cycle := func(c Codec) func() {
		return func() {
			b := p.NewBatch(16)
			for range 500 { // crosses nine chunk borders
				if !b.TryAppend(testTime, key, value, headers) {
					t.Fatal("refused")
				}
			}
			if err := b.Compress(c, &s); err != nil {
				t.Fatal(err)
			}
			b.Stamp(1, 2, 3)
			b.Stamp(1, 2, 4)
			r.Reset(b)
			if n, err := r.WriteTo(discard{}); n != int64(b.Size()) || err != nil {
				t.Fatal(n, err)
			}
			b.Release()
		}
	}
	for _, c := range codecs {
		cycle(c)() // slabs, encoders and buffers appear once
		if n := testing.AllocsPerRun(20, cycle(c)); n >= 1 && !raceEnabled {
			t.Errorf("%v: %v allocations per batch of 500 records", c, n)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
