package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/invocation"
	"functiongraph-ingest/pkg/decode"
	"functiongraph-ingest/pkg/sink"
)

// told is a sink that remembers what the headers of each record say.
type told struct {
	fake
	said []string
}

func (s *told) Append(ctx context.Context, recs []sink.Record, ack sink.Ack) (int, error) {
	for _, r := range recs {
		var h []string
		for _, header := range r.Headers {
			h = append(h, fmt.Sprintf("%s=%s", strings.TrimPrefix(header.Key, "ingest-"), header.Value))
		}
		s.said = append(s.said, strings.Join(h, " "))
	}
	return s.fake.Append(ctx, recs, ack)
}

func TestLinesSayOfWhichInvocationTheyAre(t *testing.T) {
	s, now := &told{}, time.Now().UTC().Add(-time.Minute)
	p := New(Config{Listen: listenConfig(), GateBytes: 4 << 20, RingItems: 16, ShutdownTimeout: 20 * time.Second},
		Deps{Sink: s, Invocations: invocation.New(), Intervals: invocation.NewIntervals(0)})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	when := func(seconds float64) string {
		return now.Add(time.Duration(seconds * float64(time.Second))).Format(timeLayout)
	}
	line := func(seconds float64, more string) string {
		return `{"name":"function","startTime":"` + when(seconds) + `","logs":"l"` + more + `}`
	}
	event := func(name, id string, seconds float64, more string) string {
		return `{"name":"platform.` + name + `","startTime":"` + when(seconds) + `","traceId":"` + id + `"` + more + `}`
	}
	announce := func(id string) { p.invoked([]byte(`{"traceId":"` + id + `"}`)) }
	for _, step := range []struct {
		announce, body string
		want           []string
	}{
		{"", "[" + event("initStart", "a", -9, "") + "," + line(-8, "") + "]", []string{"", "trace-open=0"}},
		{"a", "[" + event("start", "a", 1, "") + "," + line(2, "") + "," + line(0, "") + "]",
			[]string{"cold-start=true", "trace=a cold-start=true", "trace-open=0"}},
		{"", "[" + line(2, `,"traceId":"a"`) + `,{"name":"function","logs":"no time"},{"name":"function","startTime":"` + when(3)[:19] + `+00:00","logs":"another form"},{"name":"other"},{"name":"extension","startTime":"` + when(2) + `","logs":"x"}]`,
			[]string{"cold-start=true", "trace-open=1", "trace=a cold-start=true", "", ""}},
		{"b", "[" + event("start", "b", 5, "") + "," + line(4, "") + "," + line(6, "") + "," + event("runtimeDone", "a", 7, `,"status":"success"`) + "," + line(8, "") + "]",
			[]string{"", "trace=a cold-start=true", "trace-open=2", "cold-start=true", "trace-open=2"}},
		{"", "[" + event("report", "a", 1, `,"endTime":"`+when(7)+`","status":"success","metrics":{}`) + "," + line(8, "") + "," + line(6.5, "") + "," + line(3, "") + "]",
			[]string{"cold-start=true", "trace=b", "trace-open=2", "trace=a cold-start=true"}},
		{"", "[" + line(100, "") + "," + line(8, "") + "]", []string{"trace-open=1", "trace=b"}}, // from the future
	} {
		if step.announce != "" {
			announce(step.announce)
		}
		before := len(s.said)
		if status := <-post(p, step.body); status != 200 {
			t.Fatal(status)
		}
		until(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.taken == int64(before+len(step.want)) })
		if got := s.said[before:]; fmt.Sprintf("%q", got) != fmt.Sprintf("%q", step.want) {
			t.Errorf("%s:\n%q, want\n%q", step.body, got, step.want)
		}
	}
}

func TestCorrelationDoesNotAllocate(t *testing.T) {
	v := invocation.NewIntervals(0)
	start := time.Date(2026, 3, 1, 11, 59, 58, 0, time.UTC).UnixMilli()
	v.Announce([]byte("a"), start)
	for _, more := range []string{"", "b"} {
		v.Announce([]byte(more), start)
		dec := at(t, Config{}, `{"name":"function","startTime":"2026-03-01T11:59:58.250Z","logs":"a\nb"}`)
		dec.p.intervals = v
		if n := testing.AllocsPerRun(100, func() {
			dec.recall.at = 0 // ask again
			if h := dec.correlate(start); len(h) != 1 {
				t.Error(h)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// The short way reads what the long one does.
func TestTimesOfOneMinute(t *testing.T) {
	var c clock
	for _, text := range []string{
		"2026-03-01T11:59:58.250Z", "2026-03-01T11:59:59.999Z", "2026-03-01T11:59:00.000Z", "2026-03-01T11:59:60.000Z", "2026-03-01T11:59:5a.000Z",
		"2026-03-01T11:59:-1.000Z", "2026-03-01T12:00:00.000Z", "2026-03-01T12:00:01.5Z", "2026-03-01T12:00:01+01:00", "2026-03-01T12:00:01.000z",
		"2026-03-01T12:00:01,000Z", "0000-00-00T00:00:00.000Z", "0001-01-01T00:00:00.000Z", "2026-03-01T12:00:02.001Z",
	} {
		dec := at(t, Config{}, `{"startTime":"`+text+`"}`)
		want, err := dec.e.Start()
		if got, ok := c.start(&dec.e); ok != (err == nil) || ok && got != want.UnixMilli() {
			t.Errorf("%s: %d, %v; want %v, %v", text, got, ok, want.UnixMilli(), err)
		}
	}
}

func BenchmarkCorrelate(b *testing.B) {
	for _, open := range []int{1, 1000} {
		b.Run(fmt.Sprint(open), func(b *testing.B) {
			v := invocation.NewIntervals(0)
			start := time.Date(2026, 3, 1, 11, 59, 58, 0, time.UTC).UnixMilli()
			for i := range open {
				v.Announce(fmt.Appendf(nil, "3da1f2dc-3222-475e-9205-%012d", i), start-int64(i))
			}
			dec := &decoder{p: &Pipeline{intervals: v}}
			dec.d.Reset([]byte(`{"name":"function","startTime":"2026-03-01T11:59:58.250Z","logs":"a\nb"}`), decode.Options{})
			dec.d.Next(&dec.e)
			for b.Loop() {
				dec.recall.at = 0
				dec.correlate(start)
			}
		})
	}
}
