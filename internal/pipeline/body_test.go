package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/pkg/sink"
)

// sinkhole is a sink that takes everything and keeps nothing but the last record.
type sinkhole struct {
	fake
	last sink.Record
}

func (s *sinkhole) Append(_ context.Context, recs []sink.Record, _ sink.Ack) (int, error) {
	s.last = recs[len(recs)-1]
	return len(recs), nil
}

// admittedThen is when the body came, in milliseconds.
const admittedThen = 1_772_366_400_000

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
func bodies(tb testing.TB, cfg Config, to *sinkhole) (decode func()) {
	cfg.Listen, cfg.GateBytes, cfg.RingItems = listenConfig(), 8<<20, 16
	p := New(cfg, Deps{Sink: to})
	dec := newDecoder(p)
	text := hundred()
	charge := body.Charge(int64(len(text)))
	return func() {
		if err := p.room.Reserve(context.Background(), charge, 0); err != nil {
			tb.Fatal(err)
		}
		b := p.room.Lend(charge)
		b.Data, b.NDJSON, b.AdmittedAt = b.Buffer()[:copy(b.Buffer(), text)], true, admittedThen
		dec.body(b)
	}
}

// severalTopics are a topic for each category.
func severalTopics() Topics { return Topics{Platform: 1, Function: 2, Extension: 3} }

func TestABodyIsDecodedWithoutAllocations(t *testing.T) {
	for _, topics := range []Topics{{}, severalTopics()} {
		decode := bodies(t, Config{Topics: topics}, new(sinkhole))
		decode() // the pool makes its buffer
		if n := testing.AllocsPerRun(100, decode); n != 0 {
			t.Errorf("%+v: %v allocations a body", topics, n)
		}
	}
}

func TestTheSettingsDecideTimeAndTopicOfARecord(t *testing.T) {
	for _, tt := range []struct {
		cfg   Config
		ago   int64
		topic int
	}{
		{Config{}, 0, 0},
		{Config{EventTime: true}, 1750, 0},
		{Config{Topics: severalTopics()}, 0, 2},
	} {
		var to sinkhole
		bodies(t, tt.cfg, &to)()
		if r := to.last; admittedThen-r.Timestamp != tt.ago || r.Topic != tt.topic || len(r.Headers) > 0 {
			t.Errorf("%+v: %d ms before the admission, topic %d, headers %v", tt.cfg, admittedThen-r.Timestamp, r.Topic, r.Headers)
		}
	}
}

// BenchmarkBody is what the decoder does with a body, up to a sink that costs nothing.
func BenchmarkBody(b *testing.B) {
	for name, topics := range map[string]Topics{"topics=1": {}, "topics=4": severalTopics()} {
		b.Run(name, func(b *testing.B) {
			decode := bodies(b, Config{Topics: topics}, new(sinkhole))
			b.ReportAllocs()
			b.SetBytes(int64(len(hundred())))
			for b.Loop() {
				decode()
			}
		})
	}
}
