package recordbatch

import (
	"fmt"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

// logOf is batches as they lie in a partition's log, of so many records each.
func logOf(t *testing.T, codec Codec, counts ...int) (data []byte, ends []int) {
	t.Helper()
	base := 0
	for _, n := range counts {
		b := NewPrivateBatch(n * 200)
		for i := range n {
			if !b.TryAppendEncoded(&sink.Record{Timestamp: int64(1000 + base + i), Value: fmt.Append(nil, base+i), Headers: []sink.Header{{Key: "c", Value: []byte("d")}}},
				&Encoded{AppendHeader(nil, "a", []byte("b")), 1}) {
				t.Fatal("no room")
			}
		}
		if err := b.Compress(codec, new(Scratch)); err != nil {
			t.Fatal(err)
		}
		b.Stamp(1, 0, 0)
		wire := b.AppendTo(nil)[4:]
		wire[7] = byte(base) // the broker sets the base offset, which no checksum covers
		data = append(data, wire...)
		base += n
		ends = append(ends, len(data))
	}
	return data, ends
}

func TestFetchedReadsWholeBatches(t *testing.T) {
	for _, codec := range []Codec{None, Snappy, LZ4, Zstd, Gzip} {
		data, ends := logOf(t, codec, 3, 1, 5)
		whole := []int64{3, 4, 9}
		for cut := range len(data) + 1 {
			want := int64(-1)
			for i, end := range ends {
				if cut >= end {
					want = whole[i]
				}
			}
			at := int64(0)
			next, err := Fetched(data[:cut], MaxRecordsBytes, func(offset, ts int64, key, value []byte, headers []sink.Header) bool {
				if offset != at || ts != 1000+at || key != nil || string(value) != fmt.Sprint(at) || len(headers) != 2 || headers[0].Key != "a" || string(headers[1].Value) != "d" {
					t.Fatalf("%v: record %d at %d: %s %v", codec, offset, ts, value, headers)
				}
				at++
				return true
			})
			if err != nil || next != want || want >= 0 && at != want {
				t.Fatalf("%v, %d of %d bytes: next %d, want %d, %v", codec, cut, len(data), next, want, err)
			}
		}
	}
}

// No byte of a log may end the process, and none that the checksum covers passes for another.
func TestFetchedFlipAnyByte(t *testing.T) {
	data, _ := logOf(t, Snappy, 3, 2)
	for i := range data {
		bad := append([]byte(nil), data...)
		bad[i] ^= 0x55
		records := 0
		_, err := Fetched(bad, 1<<20, func(_, _ int64, _, value []byte, _ []sink.Header) bool {
			if string(value) != fmt.Sprint(records) {
				t.Fatalf("byte %d: value %q", i, value)
			}
			records++
			return true
		})
		if err == nil && records > 5 {
			t.Errorf("byte %d: %d records", i, records)
		}
	}
}

func FuzzFetched(f *testing.F) {
	f.Add([]byte("no batch, but long enough to have a header of sixty-one bytes, and more than that"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = Fetched(data, 1<<16, func(_, _ int64, _, _ []byte, _ []sink.Header) bool { return true })
	})
}
