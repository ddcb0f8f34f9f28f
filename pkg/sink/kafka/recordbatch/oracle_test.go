package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// rec is a record with memory of its own, for comparison.
type rec struct {
	ts      int64
	key     []byte
	value   []byte
	headers []sink.Header
}

func (r rec) equal(o rec) bool {
	return r.ts == o.ts && (r.key == nil) == (o.key == nil) && bytes.Equal(r.key, o.key) &&
		o.value != nil && bytes.Equal(r.value, o.value) &&
		slices.EqualFunc(r.headers, o.headers, func(a, b sink.Header) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value)
		})
}

func (r rec) String() string {
	return fmt.Sprintf("{ts %d key %.40q value %d bytes %.40q headers %v}", r.ts, r.key, len(r.value), r.value, r.headers)
}

func (r rec) appendTo(b *Batch) bool { return b.TryAppend(r.ts, r.key, r.value, r.headers) }

func compare(t *testing.T, decoder string, got, want []rec) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", decoder, len(got), len(want))
	}
	for i := range want {
		if !want[i].equal(got[i]) {
			t.Fatalf("%s: record %d is %v, want %v", decoder, i, got[i], want[i])
		}
	}
}

// checkWire decodes the wire bytes of b with every decoder there is and compares with want.
func checkWire(t *testing.T, b *Batch, want []rec) {
	t.Helper()
	wire := b.AppendTo(nil)
	if len(wire) != b.Size() {
		t.Fatalf("AppendTo gave %d bytes, Size is %d", len(wire), b.Size())
	}
	var w bytes.Buffer
	if n, err := b.WriteTo(&w); err != nil || n != int64(len(wire)) || !bytes.Equal(w.Bytes(), wire) {
		t.Fatalf("WriteTo wrote %d bytes, %v, that differ from AppendTo's %d", n, err, len(wire))
	}
	compare(t, "kafka-go", decodeKafkaGo(t, wire), want)
	compare(t, "franz-go", decodeFranz(t, wire), want)
	compare(t, "Records", decodeOwn(t, b), want)
	var got []rec
	if err := Decode(wire, MaxRecordsBytes, collect(&got)); err != nil {
		t.Fatalf("Decode: %v", err)
	}
	compare(t, "Decode", got, want)
}

func collect(to *[]rec) func(int64, []byte, []byte, []sink.Header) bool {
	return func(ts int64, key, value []byte, headers []sink.Header) bool {
		*to = append(*to, rec{ts, key, value, slices.Clone(headers)})
		return true
	}
}

func decodeOwn(t *testing.T, b *Batch) []rec {
	t.Helper()
	var got []rec
	if err := b.Records(collect(&got)); err != nil {
		t.Fatalf("Records: %v", err)
	}
	return got
}

func decodeKafkaGo(t *testing.T, wire []byte) []rec {
	t.Helper()
	var rs protocol.RecordSet
	if n, err := rs.ReadFrom(bytes.NewReader(wire)); err != nil || n != int64(len(wire)) {
		t.Fatalf("kafka-go read %d of %d bytes: %v", n, len(wire), err)
	}
	var got []rec
	for {
		r, err := rs.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatalf("kafka-go: record %d: %v", len(got), err)
		}
		if r.Offset != int64(len(got)) {
			t.Fatalf("kafka-go: offset %d at record %d", r.Offset, len(got))
		}
		g := rec{ts: r.Time.UnixMilli(), key: readBytes(t, r.Key), value: readBytes(t, r.Value)}
		for _, h := range r.Headers {
			g.headers = append(g.headers, sink.Header{Key: h.Key, Value: h.Value})
		}
		got = append(got, g)
	}
}

func readBytes(t *testing.T, b protocol.Bytes) []byte {
	t.Helper()
	if b == nil {
		return nil
	}
	defer b.Close()
	p, err := protocol.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return []byte{}
	}
	return p
}

func decodeFranz(t *testing.T, wire []byte) []rec {
	t.Helper()
	if n := binary.BigEndian.Uint32(wire); int(n) != len(wire)-4 {
		t.Fatalf("size is %d with %d wire bytes", n, len(wire))
	}
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(wire[4:]); err != nil {
		t.Fatalf("kmsg: %v", err)
	}
	if rb.Magic != 2 || rb.PartitionLeaderEpoch != -1 || rb.FirstOffset != 0 || rb.LastOffsetDelta != rb.NumRecords-1 {
		t.Fatalf("kmsg: header %+v", rb)
	}
	records, err := kgo.DefaultDecompressor().Decompress(rb.Records, kgo.CompressionCodecType(rb.Attributes&7))
	if err != nil {
		t.Fatalf("kgo: codec %d: %v", rb.Attributes, err)
	}
	var got []rec
	maxTS := int64(0)
	for len(records) > 0 {
		length, n := binary.Varint(records)
		var r kmsg.Record
		if err := r.ReadFrom(records[:n+int(length)]); err != nil {
			t.Fatalf("kmsg: record %d: %v", len(got), err)
		}
		records = records[n+int(length):]
		if int(r.OffsetDelta) != len(got) || r.Attributes != 0 {
			t.Fatalf("kmsg: offset delta %d, attributes %d at record %d", r.OffsetDelta, r.Attributes, len(got))
		}
		g := rec{ts: rb.FirstTimestamp + r.TimestampDelta64, key: r.Key, value: r.Value}
		for _, h := range r.Headers {
			g.headers = append(g.headers, sink.Header{Key: h.Key, Value: h.Value})
		}
		if len(got) == 0 || g.ts > maxTS {
			maxTS = g.ts
		}
		got = append(got, g)
	}
	if len(got) != int(rb.NumRecords) || rb.MaxTimestamp != maxTS {
		t.Fatalf("kmsg: %d records, max timestamp %d; header says %d, %d", len(got), maxTS, rb.NumRecords, rb.MaxTimestamp)
	}
	return got
}

const testTime = 1_700_000_000_000

// randomRecord makes a record of any shape; values up to maxValue bytes, half of them compressible.
func randomRecord(r *rand.Rand, maxValue int) rec {
	x := rec{ts: testTime + r.Int64N(2_000_000) - 1_000_000, value: randomBytes(r, r.IntN(maxValue+1))}
	switch r.IntN(4) {
	case 0: // null key
	case 1:
		x.key = []byte{}
	case 2:
		x.key = fmt.Appendf(nil, "trace-%d", r.IntN(1000))
	case 3:
		x.key = randomBytes(r, r.IntN(300))
	}
	for range r.IntN(4) {
		x.headers = append(x.headers, sink.Header{Key: string(randomBytes(r, r.IntN(80))), Value: randomBytes(r, r.IntN(80))})
	}
	return x
}

func randomBytes(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	if r.IntN(2) == 0 {
		for i := range p {
			p[i] = "telemetry {}:,0123"[r.IntN(18)&r.IntN(18)]
		}
		return p
	}
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}
