package recordbatch

import (
	"fmt"
	"io"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

// telemetry returns n different events like those of the platform, each of exactly size bytes.
func telemetry(n, size int) [][]byte {
	out := make([][]byte, n)
	seed := uint32(1)
	rnd := func(n uint32) uint32 {
		seed = seed*1664525 + 1013904223
		return (seed >> 8) % n
	}
	words := []string{"GET", "POST", "/orders/", "/users/", "status=", "took", "ms", "cache miss", "retry", "connection reset by peer", "ok", "user_id="}
	for i := range out {
		e := fmt.Appendf(nil, `{"name":"function","startTime":"2026-09-%02dT%02d:%02d:%02d.%03dZ","traceId":"%08x-0233-11e8-82e4-%06x%06x","logs":"[Function]`,
			1+rnd(30), rnd(24), rnd(60), rnd(60), rnd(1000), seed, rnd(1<<24), rnd(1<<24))
		for len(e) < size-2 {
			e = append(e, words[rnd(uint32(len(words)))]...)
			e = fmt.Appendf(e, "%d ", rnd(100000))
		}
		out[i] = append(e[:size-2], '"', '}')
	}
	return out
}

const benchBatchBytes = 256 << 10

// BenchmarkAppend fills batches up to 256 KiB; ns/op is per record, taking and releasing the batch and
// its chunks included. memmove is the floor: the same bytes copied into one contiguous buffer.
func BenchmarkAppend(b *testing.B) {
	key := []byte("69be64a7-0233-11e8-82e4-e5d37911193e")
	headers := []sink.Header{{Key: "fn", Value: []byte("resize")}, {Key: "version", Value: []byte("latest")}, {Key: "instance", Value: []byte("0af1c6b2")}, {Key: "seq", Value: []byte("1234567")}}
	for _, size := range []int{240, 300} {
		events := telemetry(1024, size)
		run := func(name string, key []byte, headers []sink.Header) {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				p := NewPool(16 << 20)
				need := RecordSize(key, events[0], headers)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				rb := p.NewBatch(16)
				i := 0
				for b.Loop() {
					if rb.Size()+need > benchBatchBytes {
						rb.Release()
						rb = p.NewBatch(16)
					}
					if !rb.TryAppend(testTime+int64(i&1023), key, events[i&1023], headers) {
						b.Fatal("refused")
					}
					i++
				}
			})
		}
		run("value", nil, nil)
		run("key", key, nil)
		run("headers", key, headers)
		b.Run(fmt.Sprintf("memmove/%d", size), func(b *testing.B) {
			buf := make([]byte, benchBatchBytes)
			b.SetBytes(int64(size))
			off, i := 0, 0
			for b.Loop() {
				if off+size > len(buf) {
					off = 0
				}
				off += copy(buf[off:], events[i&1023])
				i++
			}
		})
	}
}

func fullBatch(b *testing.B, p *Pool, events [][]byte) *Batch {
	rb := p.NewBatch(16)
	for i := 0; rb.Size()+400 < benchBatchBytes; i++ {
		if !rb.TryAppend(testTime, nil, events[i&1023], nil) {
			b.Fatal("refused")
		}
	}
	return rb
}

func BenchmarkStamp(b *testing.B) {
	rb := fullBatch(b, NewPool(16<<20), telemetry(1024, 300))
	b.SetBytes(int64(rb.Size()))
	b.ReportAllocs()
	seq := int32(0)
	for b.Loop() {
		rb.Stamp(1, 2, seq)
		seq++
	}
}

func BenchmarkReader(b *testing.B) {
	rb := fullBatch(b, NewPool(16<<20), telemetry(1024, 300))
	rb.Stamp(1, 2, 3)
	var r Reader
	b.SetBytes(int64(rb.Size()))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(rb)
		if _, err := r.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompress compresses batches of 256 KiB; ratio is wire bytes before by after. Filling the
// batch is not measured.
func BenchmarkCompress(b *testing.B) {
	events := telemetry(1024, 300)
	for _, c := range codecs[1:] {
		b.Run(c.String(), func(b *testing.B) {
			p := NewPool(16 << 20)
			var s Scratch
			b.ReportAllocs()
			var before, after int
			for b.Loop() {
				b.StopTimer()
				rb := fullBatch(b, p, events)
				before = rb.Size()
				b.StartTimer()
				if err := rb.Compress(c, &s); err != nil || rb.Codec() != c {
					b.Fatal(err, rb.Codec())
				}
				after = rb.Size()
				rb.Release()
			}
			b.SetBytes(int64(before))
			b.ReportMetric(float64(before)/float64(after), "ratio")
		})
	}
}
