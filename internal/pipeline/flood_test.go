package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// graves is a sink that remembers dead letters and good events.
type graves struct {
	fake
	dead []sink.DeadLetter
	good []string
}

func (g *graves) Append(ctx context.Context, recs []sink.Record, ack sink.Ack) (int, error) {
	for _, r := range recs {
		g.good = append(g.good, string(r.Value))
	}
	return g.fake.Append(ctx, recs, ack)
}

func (g *graves) DeadLetter(ctx context.Context, d *sink.DeadLetter, ack sink.Ack) error {
	copied := *d
	copied.Raw = bytes.Clone(d.Raw)
	g.dead = append(g.dead, copied)
	return g.fake.DeadLetter(ctx, d, ack)
}

// TestDeadLettersOfOneBodyAreBounded: beyond maxBad the bad regions of a body share one dead letter, which holds all
// their bytes; good events among them are delivered, and the next body begins anew.
func TestDeadLettersOfOneBodyAreBounded(t *testing.T) {
	for _, c := range []struct {
		name      string
		bad, good int
		dead      int
		body      func(bad, good int) string
	}{
		{"none", 0, 5, 0, mixed},
		{"as many as may be", maxBad, 3, maxBad, mixed},
		{"one more", maxBad + 1, 3, maxBad + 1, mixed},
		{"far more", 5000, 700, maxBad + 1, mixed},
		{"a number after the other", 200_000, 0, maxBad + 1, func(bad, _ int) string { return "[" + strings.Repeat("1,", bad-1) + "1]" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &graves{}
			p := New(Config{Listen: listenConfig(), GateBytes: 8 << 20, RingItems: 16, ShutdownTimeout: 20 * time.Second}, Deps{Sink: g})
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			text := c.body(c.bad, c.good)
			for range 2 {
				if status := <-post(p, text); status != 200 {
					t.Fatalf("status %d", status)
				}
			}
			if err := p.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(g.dead) != 2*c.dead || len(g.good) != 2*c.good {
				t.Fatalf("%d dead letters and %d good events of two bodies, want %d and %d", len(g.dead), len(g.good), 2*c.dead, 2*c.good)
			}
			if c.dead <= maxBad {
				return
			}
			last := g.dead[c.dead-1]
			if got := text[last.Offset : last.Offset+int64(len(last.Raw))]; got != string(last.Raw) || last.ErrorOffset < last.Offset || last.Reason == "" {
				t.Errorf("the last dead letter: offset %d, error %d, reason %q", last.Offset, last.ErrorOffset, last.Reason)
			}
			if end := last.Offset + int64(len(last.Raw)); strings.Trim(text[end:], "]") != "" && c.name == "a number after the other" {
				t.Errorf("%q is in none", text[end:])
			}
		})
	}
}

// mixed is bad elements, with the good ones spread among them.
func mixed(bad, good int) string {
	var b strings.Builder
	b.WriteString("[")
	for i := range max(bad, good) {
		if i > 0 {
			b.WriteString(",")
		}
		if i < good {
			fmt.Fprintf(&b, `{"good":%d}`, i)
			if i < bad {
				b.WriteString(",")
			}
		}
		if i < bad {
			fmt.Fprintf(&b, `"bad %d"`, i)
		}
	}
	return b.String() + "]"
}
