package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"functiongraph-ingest/internal/admin"
	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/term"
	"functiongraph-ingest/pkg/sink"
)

func TestReadGauges(t *testing.T) {
	g := readGauges("# TYPE ingest_ring_used_bodies gauge\ningest_ring_used_bodies 3\ningest_ring_limit_bodies 1024\n" +
		"ingest_gate_used_bytes 1.5e6\nother{a=\"b c\"} 7\nprocess_resident_memory_bytes 4096\n")
	if g.ring != (fill{3, 1024}) || g.gate.used != 1.5e6 || g.rss != 4096 || g.batches != 0 {
		t.Errorf("%+v", g)
	}
}

// second is what was to be seen after so many seconds of a steady run.
func second(n int64) moment {
	m := moment{at: time.Duration(n) * time.Second, traffic: trafficStats{events: 2000 * n, bodies: 40 * n}}
	f := float64(n)
	m.gauges = gauges{
		admitted: 2000 * f, delivered: 1990 * f, deadLettered: 10 * f, batches: 20 * f, rawBytes: 20 * 2048 * f, wireBytes: 20 * 1024 * f,
		ring: fill{f, 10}, gate: fill{f * (1 << 20), 4 << 20}, buffers: fill{8 << 20, 16 << 20}, spool: fill{3 << 20, 9 << 20}, cpuSeconds: f / 4, rss: 30 << 20,
	}
	m.status = &admin.Status{Delivery: sink.Delivery{State: sink.Spooling}, Ledger: ledger.Ledger{Admitted: 2700, Delivered: 1990, DeadLettered: 10, Spooled: 700}}
	m.latency.Add(2 * time.Millisecond)
	m.seen = consumerStats{events: 1990 * n, dead: 10 * n, reasons: map[string]int64{"bad_value": n, "truncated": 9 * n}, last: map[place]sample{
		{topic, 0}:     {offset: 1234, key: "69be64a7-0233-11e8-82e4-e5d37911193e", value: []byte(`{"name":"function","logs":"` + strings.Repeat("é\n", 99) + `"}`)},
		{deadTopic, 0}: {offset: 9, reason: "truncated", value: []byte("\x1b[2J\xff")},
	}}
	return m
}

func TestFrame(t *testing.T) {
	v := newView(options{duration: 4 * time.Second, connections: 8, page: "http://127.0.0.1:1/"}, term.Colors{})
	v.add(second(1))
	first := v.frame()
	v.add(second(2))
	frame := v.frame()
	if len(first) != len(frame) {
		t.Errorf("%d lines, then %d: frames are drawn over one another", len(first), len(frame))
	}
	if len(frame) > 23 {
		t.Errorf("%d lines do not fit into a terminal of 24", len(frame))
	}
	text := strings.Join(frame, "\n")
	for _, want := range []string{
		"2.0 of 4s", "platform", "p50 2.00 ms", "40/s", "80 × 200", "100 events, 2.0 KiB, 1.0 KiB compressed; 20/s",
		"2 of 10 bodies", "2.0 MiB of 4.0 MiB", "8.0 MiB of 16.0 MiB", "25 % of a core, 30.0 MiB", "truncated 18   bad_value 2",
		"p0  @1,234    69be…193e", "dlq @9        truncated     ·[2J·", "2,000/s", "2,000 max",
		"answers; ingest: spooling, 700 events on disk", "2,700 admitted = 1,990 delivered + 10 dead + 700 disk + 0 memory", "2,700 = 2,700 ✔", "3.0 MiB of 9.0 MiB", "page http://127.0.0.1:1/",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, line := range frame {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d cells: %q", n, line)
		}
	}
}

// While the broker is frozen batches are filled and none is sent.
func TestFrameWithoutABatch(t *testing.T) {
	before, now := second(1), second(2)
	now.gauges.batches, now.gauges.delivered, now.gauges.deadLettered = before.gauges.batches, before.gauges.delivered, before.gauges.deadLettered
	v := newView(options{duration: 4 * time.Second}, term.Colors{})
	v.add(before)
	v.add(now)
	if text := strings.Join(v.frame(), "\n"); !strings.Contains(text, "0 events, 0 B, 0 B compressed; 0/s") {
		t.Errorf("no batch was sent:\n%s", text)
	}
}

func TestLine(t *testing.T) {
	v := newView(options{}, term.Colors{})
	v.add(second(1))
	v.add(second(2))
	const want = "   2s  in 2,000/s  out 2,000/s  consumed 2,000/s  ack p50 2.00 ms p99 2.00 ms  ring 20%  gate 50.0%  buffers 50.0%" +
		"  batch 100 events 2.0 KiB  dead letters 20 (truncated 18, bad_value 2)  answers; ingest: spooling, 700 events on disk"
	if got := v.line(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Peaks stay when the fill goes down, and a scrape that failed shows what was there before it.
func TestPeaksAndMissedScrapes(t *testing.T) {
	v := newView(options{}, term.Colors{})
	v.add(second(3))
	missed := second(4)
	missed.gauges = gauges{}
	v.add(missed)
	if v.last().gauges != second(3).gauges || v.peak.ring != 3 {
		t.Errorf("%+v, peak %+v", v.last().gauges, v.peak)
	}
	low := second(5)
	low.gauges.ring.used = 0
	v.add(low)
	if v.peak.ring != 3 {
		t.Errorf("peak %+v", v.peak)
	}
}

func TestScreenDrawsInPlace(t *testing.T) {
	var b bytes.Buffer
	s := &screen{w: &b, terminal: true}
	s.draw([]string{"one", "two"})
	s.draw([]string{"three", "four"})
	if got := b.String(); strings.Count(got, "\x1b[2A") != 1 || !strings.Contains(got, "\x1b[2Athree"+clearLine+"\nfour"+clearLine+"\n") {
		t.Errorf("%q", got)
	}
}

func TestColors(t *testing.T) {
	if got := (term.Colors{}).Red("x"); got != "x" {
		t.Errorf("off: %q", got)
	}
	if got := (term.Colors{On: true}).Red("x"); !regexp.MustCompile(`^\x1b\[31mx\x1b\[0m$`).MatchString(got) {
		t.Errorf("on: %q", got)
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range [][2]string{
		{term.Count(0), "0"}, {term.Count(999), "999"}, {term.Count(1000), "1,000"}, {term.Count(int64(1234567)), "1,234,567"}, {term.Count(999.6), "1,000"},
		{term.Size(10), "10 B"}, {term.Size(1536), "1.5 KiB"}, {term.Size(3 << 20), "3.0 MiB"},
		{term.Millis(1500 * time.Microsecond), "1.50 ms"}, {term.Millis(84 * time.Millisecond), "84 ms"},
		{term.Bar(0, 4), "····"}, {term.Bar(0.5, 4), "██··"}, {term.Bar(1, 4), "████"}, {term.Bar(1.0/32, 4), "▏···"}, {term.Bar(31.0/32, 4), "███▉"},
		{term.Spark([]float64{0, 5, 10}), "▁▅█"}, {term.Spark(nil), ""},
		{term.Shorten("abcdef", 6), "abcdef"}, {term.Shorten("abcdef", 5), "ab…ef"}, {term.Shorten("abcdef", 4), "a…ef"},
		{term.Printable([]byte("a\n\x1b\xffé~")), "a····~"}, {term.Pad("é", 3), "é  "}, {term.Pad("long", 2), "long"},
	} {
		if tt[0] != tt[1] {
			t.Errorf("%q, want %q", tt[0], tt[1])
		}
	}
}
