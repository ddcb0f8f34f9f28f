package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/procs"
)

// scrape is one parsed answer; the key of a sample is its name with labels.
type scrape struct {
	samples map[string]float64
	types   map[string]string
	text    string
}

var sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*"(?:, ?[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*")*\})? (\S+)$`)

// read scrapes and parses strictly: every line a comment or a sample, one type per name, stated before
// its samples, which stand together.
func read(t *testing.T, m *Metrics) scrape {
	t.Helper()
	var buf bytes.Buffer
	if err := m.Write(&buf); err != nil {
		t.Fatal(err)
	}
	s := scrape{map[string]float64{}, map[string]string{}, buf.String()}
	for line := range strings.Lines(s.text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if s.types[name] != "" {
				t.Errorf("second type line of %s", name)
			}
			s.types[name] = kind
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		match := sampleLine.FindStringSubmatch(line)
		if match == nil {
			t.Errorf("not a metric: %q", line)
			continue
		}
		v, err := strconv.ParseFloat(match[3], 64)
		if err != nil {
			t.Errorf("not a number: %q", line)
		}
		key := match[1] + match[2]
		if _, twice := s.samples[key]; twice {
			t.Errorf("%s is written twice", key)
		}
		s.samples[key] = v
		if strings.HasPrefix(match[1], "ingest_") && s.types[family(match[1], s.types)] == "" {
			t.Errorf("%s has no type", match[1])
		}
	}
	return s
}

func family(name string, types map[string]string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && types[base] == "histogram" {
			return base
		}
	}
	return name
}

func fullSource() Source {
	return Source{
		Ledger: func() ledger.Ledger {
			return ledger.Ledger{
				Admitted: 100, Recovered: 10, Delivered: 70, DeadLettered: 6, SetAside: 5, Spooled: 4, InFlight: 3,
				Dropped:            ledger.Reasons{"too_large": 2, "shutdown": 19},
				PossibleDuplicates: 8, DuplicatesSuppressed: 9, Idempotent: true,
				Bodies: ledger.Bodies{Admitted: 12, Refused: ledger.Reasons{`odd "reason"\`: 7}},
			}
		},
		Ready:       func() error { return errors.New("no leader") },
		Gate:        func() Usage { return Usage{1 << 20, 26 << 20} },
		GateWaiters: func() int64 { return 2 },
		Ring:        func() Usage { return Usage{3, 1024} },
		Buffers:     func() Usage { return Usage{4 << 20, 16 << 20} },
		Conns:       func() Usage { return Usage{5, 341} },
	}
}

func TestWrite(t *testing.T) {
	s := read(t, New(fullSource()))
	want := map[string]float64{
		"ingest_ledger_admitted_events_total":                           100,
		"ingest_ledger_recovered_events_total":                          10,
		"ingest_ledger_delivered_events_total":                          70,
		"ingest_ledger_dead_lettered_events_total":                      6,
		"ingest_ledger_set_aside_events_total":                          5,
		"ingest_ledger_spooled_events":                                  4,
		"ingest_ledger_in_flight_events":                                3,
		"ingest_ledger_missing_events":                                  1,
		`ingest_ledger_dropped_events_total{reason="shutdown"}`:         19,
		`ingest_ledger_dropped_events_total{reason="too_large"}`:        2,
		"ingest_ledger_possible_duplicate_events_total":                 8,
		"ingest_ledger_suppressed_duplicate_events_total":               9,
		"ingest_ledger_idempotent_bool":                                 1,
		"ingest_ledger_own_lines_total":                                 0,
		"ingest_ledger_admitted_bodies_total":                           12,
		`ingest_ledger_refused_bodies_total{reason="odd \"reason\"\\"}`: 7,
		"ingest_pipeline_ready_bool":                                    0,
		"ingest_gate_used_bytes":                                        1 << 20,
		"ingest_gate_limit_bytes":                                       26 << 20,
		"ingest_gate_waiting_bodies":                                    2,
		"ingest_ring_used_bodies":                                       3,
		"ingest_ring_limit_bodies":                                      1024,
		"ingest_buffers_used_bytes":                                     4 << 20,
		"ingest_buffers_limit_bytes":                                    16 << 20,
		"ingest_listen_used_connections":                                5,
		"ingest_listen_limit_connections":                               341,
	}
	for name, v := range want {
		if got, ok := s.samples[name]; !ok || got != v {
			t.Errorf("%s = %v (written: %v), want %v", name, got, ok, v)
		}
	}
	for name := range s.samples {
		if _, ok := want[name]; !ok && strings.HasPrefix(name, "ingest_") && !strings.HasPrefix(name, "ingest_process_") {
			t.Errorf("%s is not expected", name)
		}
	}
}

// What the bench and the memory promise read must be there and positive.
func TestProcessMetrics(t *testing.T) {
	s := read(t, New(Source{}))
	for _, name := range []string{
		"ingest_process_allocated_objects_total", "ingest_process_allocated_bytes_total", "ingest_process_heap_bytes",
		"ingest_process_goroutines_count", "go_goroutines",
	} {
		if s.samples[name] <= 0 {
			t.Errorf("%s = %v", name, s.samples[name])
		}
	}
	if _, ok := s.samples["ingest_process_gc_cycles_total"]; !ok {
		t.Error("no GC cycles")
	}
	if procs.CPUTime() > 0 && s.samples["ingest_process_cpu_seconds_total"] <= 0 {
		t.Error("no CPU time")
	}
}

// What the kernel tells is written in bytes, the peak not below the present.
func TestMemoryIsInBytes(t *testing.T) {
	s := read(t, New(Source{}))
	now, peak := s.samples["process_resident_memory_bytes"], s.samples["process_resident_memory_peak_bytes"]
	if runtime.GOOS == "linux" && (now < 1<<20 || peak < now/2 || s.samples["process_num_threads"] < 1 || s.samples["process_virtual_memory_bytes"] < now) {
		t.Errorf("resident %v, peak %v: %s", now, peak, s.text)
	}
	if goal := s.samples["go_heap_goal_bytes"]; goal <= 0 || s.samples["go_gomaxprocs"] < 1 {
		t.Errorf("goal of the heap %v, processors %v: the runtime has other names by now", goal, s.samples["go_gomaxprocs"])
	}
}

// Names are ingest_<part>_<noun>_<unit|total>: counters and only they end in _total.
func TestNames(t *testing.T) {
	m := New(fullSource())
	m.Histogram("ingest_listen_ack_seconds").Observe(time.Millisecond)
	m.Counter("ingest_sink_requests_total", func() int64 { return 1 })
	s := read(t, m)
	for name, kind := range s.types {
		if !strings.HasPrefix(name, "ingest_") {
			continue
		}
		if strings.HasSuffix(name, "_total") != (kind == "counter") {
			t.Errorf("%s is a %s", name, kind)
		}
		if len(strings.Split(name, "_")) < 4 {
			t.Errorf("%s has no part, noun and unit", name)
		}
	}
}

// The ledger is asked once per scrape, so that its numbers belong together.
func TestOneLedgerPerScrape(t *testing.T) {
	asked := 0
	src := Source{Ledger: func() ledger.Ledger { asked++; return ledger.Ledger{} }}
	m := New(src)
	read(t, m)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// Two pipelines in one process know nothing of each other.
func TestTwoSets(t *testing.T) {
	a, b := New(fullSource()), New(Source{})
	a.Gauge("ingest_test_level_bytes", func() float64 { return 1 })
	b.Gauge("ingest_test_level_bytes", func() float64 { return 2.5 })
	if got := read(t, a).samples["ingest_test_level_bytes"]; got != 1 {
		t.Errorf("first = %v", got)
	}
	s := read(t, b)
	if got := s.samples["ingest_test_level_bytes"]; got != 2.5 {
		t.Errorf("second = %v", got)
	}
	if strings.Contains(s.text, "ingest_ledger_") || strings.Contains(s.text, "ingest_gate_") {
		t.Error("metrics of the first in the second")
	}
}

func TestCounters(t *testing.T) {
	m := New(Source{})
	m.Counter("ingest_test_things_total", func() int64 { return 7 })
	m.Counters("ingest_test_errors_total", "class", func() map[string]int64 { return map[string]int64{"b": 2, "a": 1} })
	m.Counters("ingest_test_none_total", "class", func() map[string]int64 { return nil })
	s := read(t, m)
	if s.samples["ingest_test_things_total"] != 7 || s.samples[`ingest_test_errors_total{class="a"}`] != 1 ||
		s.samples[`ingest_test_errors_total{class="b"}`] != 2 {
		t.Error(s.text)
	}
	if strings.Contains(s.text, "ingest_test_none_total") {
		t.Error("a family without samples is written")
	}
}

func TestWriteReportsTheWriter(t *testing.T) {
	if err := New(Source{}).Write(brokenWriter{}); err == nil {
		t.Error("no error")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestBucketOf(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want int
	}{
		{0, 0}, {1, 0}, {32 * time.Microsecond, 0}, {32*time.Microsecond + 1, 1}, {64 * time.Microsecond, 1},
		{64*time.Microsecond + 1, 2}, {1024 * time.Microsecond, 5}, {1 << 25 * time.Microsecond, buckets - 2},
		{1<<25*time.Microsecond + 1, buckets - 1}, {1<<63 - 1, buckets - 1},
	} {
		if got := bucketOf(tt.d); got != tt.want {
			t.Errorf("bucketOf(%v) = %d, want %d", tt.d, got, tt.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	m := New(Source{})
	h := m.Histogram("ingest_listen_ack_seconds")
	for _, d := range []time.Duration{-time.Second, 10 * time.Microsecond, 40 * time.Microsecond, time.Second, time.Hour} {
		h.Observe(d)
	}
	s := read(t, m)
	want := map[string]float64{
		`_bucket{le="3.2e-05"}`: 2, `_bucket{le="6.4e-05"}`: 3, `_bucket{le="0.524288"}`: 3, `_bucket{le="1.048576"}`: 4,
		`_bucket{le="33.554432"}`: 4, `_bucket{le="+Inf"}`: 5, "_count": 5, "_sum": 3601.00005,
	}
	for suffix, v := range want {
		if got, ok := s.samples["ingest_listen_ack_seconds"+suffix]; !ok || fmt.Sprintf("%.5f", got) != fmt.Sprintf("%.5f", v) {
			t.Errorf("%s = %v, want %v", suffix, got, v)
		}
	}
	if s.types["ingest_listen_ack_seconds"] != "histogram" {
		t.Error("no type")
	}
	if got := strings.Count(s.text, "ingest_listen_ack_seconds_bucket"); got != buckets {
		t.Errorf("%d buckets, want %d", got, buckets)
	}
}

func TestHistogramObserveAllocatesNothing(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Scrapes and observations at the same time: for the race detector, and nothing is lost.
func TestConcurrentUse(t *testing.T) {
	m := New(fullSource())
	h := m.Histogram("ingest_listen_ack_seconds")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 250 {
				h.Observe(time.Millisecond)
			}
		})
		wg.Go(func() {
			for range 5 {
				if err := m.Write(&bytes.Buffer{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := read(t, m).samples["ingest_listen_ack_seconds_count"]; got != 1000 {
		t.Errorf("count = %v", got)
	}
}

func BenchmarkHistogramObserve(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	for b.Loop() {
		h.Observe(3 * time.Millisecond)
	}
}

func BenchmarkWrite(b *testing.B) {
	m := New(fullSource())
	var buf bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		buf.Reset()
		if err := m.Write(&buf); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(buf.Len()))
}
