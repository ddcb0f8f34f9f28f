package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/pkg/sink"
)

// sinkhole is a sink that takes everything and keeps nothing.
type sinkhole struct{ fake }

func (*sinkhole) Append(_ context.Context, recs []sink.Record, _ sink.Ack) (int, error) {
	return len(recs), nil
}

// hundred is a body of a hundred events, mostly log lines.
func hundred() []byte {
	var text strings.Builder
	for i := range 100 {
		name := "function"
		if i%10 == 0 {
			name = "extension"
		}
		fmt.Fprintf(&text, `{"name":%q,"startTime":"2026-03-01T11:59:58.250Z","traceId":"trace-%d","logs":%q}`+"\n", name, i/10, strings.Repeat("x", 150))
	}
	return []byte(text.String())
}

// bodies returns what decodes one more body of a hundred events.
func bodies(tb testing.TB, cfg Config) (decode func()) {
	cfg.Listen, cfg.GateBytes, cfg.RingItems = listenConfig(), 8<<20, 16
	p := New(cfg, Deps{Sink: &sinkhole{}})
	dec := &decoder{p: p, topics: p.cfg.Topics.table(), yes: [...]byte{'t', 'r', 'u', 'e'}}
	text := hundred()
	charge := body.Charge(int64(len(text)))
	return func() {
		if err := p.room.Reserve(context.Background(), charge, 0); err != nil {
			tb.Fatal(err)
		}
		b := p.room.Lend(charge)
		b.Data, b.NDJSON, b.AdmittedAt = b.Buffer()[:copy(b.Buffer(), text)], true, 1_772_366_398_250
		dec.body(b)
	}
}

// severalTopics are a topic for each category.
func severalTopics() Topics { return Topics{Platform: 1, Function: 2, Extension: 3} }

func TestABodyIsDecodedWithoutAllocations(t *testing.T) {
	for _, topics := range []Topics{{}, severalTopics()} {
		decode := bodies(t, Config{Topics: topics})
		decode() // the pool makes its buffer
		if n := testing.AllocsPerRun(100, decode); n != 0 {
			t.Errorf("%+v: %v allocations a body", topics, n)
		}
	}
}

// BenchmarkBody is what the decoder does with a body, up to a sink that costs nothing.
func BenchmarkBody(b *testing.B) {
	for name, topics := range map[string]Topics{"topics=1": {}, "topics=4": severalTopics()} {
		b.Run(name, func(b *testing.B) {
			decode := bodies(b, Config{Topics: topics})
			b.ReportAllocs()
			b.SetBytes(int64(len(hundred())))
			for b.Loop() {
				decode()
			}
		})
	}
}
