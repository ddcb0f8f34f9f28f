package metrics

import (
	"bytes"
	"errors"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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
		if strings.HasPrefix(match[1], "ingest_") && s.types[familyOf(match[1], s.types)] == "" {
			t.Errorf("%s has no type", match[1])
		}
	}
	return s
}

func familyOf(name string, types map[string]string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && types[base] == "histogram" {
			return base
		}
	}
	return name
}

func full() (*Metrics, *Histogram) {
	m := New()
	n := 0
	snapshot := Read(m, func() int { n++; return n })
	m.Counter("ingest_test_reads_total", "Reads.", func() float64 { return float64(*snapshot) })
	m.Counter("ingest_test_seconds_total", "Time.", func() float64 { return 1.5 })
	m.Gauge("ingest_test_reads_now", "The same one.", func() float64 { return float64(*snapshot) })
	m.Counters("ingest_test_drops_total", "Drops.", "reason", []string{"b", "a"}, func() map[string]int64 { return map[string]int64{"b": 7, `odd "x"\`: 1} })
	m.State("ingest_test_state", "State.", "state", []string{"on", "off"}, func() string { return "off" })
	m.Info("ingest_test_info", "Info.", [2]string{"version", "1"}, [2]string{"go", `a"b`})
	m.Usage("ingest_test", "bytes", "Bytes", func() Usage { return Usage{1 << 20, 1 << 60} })
	h := Seconds(32*time.Microsecond, 33*time.Second)
	m.Histogram("ingest_test_wait_seconds", "Waits.", h)
	m.Process()
	return m, h
}

func TestWrite(t *testing.T) {
	m, _ := full()
	s := read(t, m)
	for name, v := range map[string]float64{
		"ingest_test_reads_total": 1, "ingest_test_reads_now": 1, "ingest_test_seconds_total": 1.5,
		`ingest_test_drops_total{reason="a"}`: 0, `ingest_test_drops_total{reason="b"}`: 7, `ingest_test_drops_total{reason="odd \"x\"\\"}`: 1,
		`ingest_test_state{state="on"}`: 0, `ingest_test_state{state="off"}`: 1, `ingest_test_info{version="1",go="a\"b"}`: 1,
		"ingest_test_used_bytes": 1 << 20, "ingest_test_limit_bytes": 1 << 60,
	} {
		if got, ok := s.samples[name]; !ok || got != v {
			t.Errorf("%s = %v (written: %v), want %v", name, got, ok, v)
		}
	}
	if got := read(t, m).samples["ingest_test_reads_now"]; got != 2 {
		t.Errorf("read %v times in two scrapes", got)
	}
}

// What the bench and the memory promise read must be there and positive, in bytes, the peak not below the present.
func TestProcessMetrics(t *testing.T) {
	m, _ := full()
	s := read(t, m)
	for _, name := range []string{"ingest_process_allocated_objects_total", "ingest_process_allocated_bytes_total", "ingest_process_heap_bytes",
		"go_goroutines", "go_heap_goal_bytes", "go_gomaxprocs", "process_start_time_seconds"} {
		if s.samples[name] <= 0 {
			t.Errorf("%s = %v: the runtime has other names by now", name, s.samples[name])
		}
	}
	if procs.CPUTime() > 0 && s.samples["process_cpu_seconds_total"] <= 0 {
		t.Error("no CPU time")
	}
	now, peak := s.samples["process_resident_memory_bytes"], s.samples["process_resident_memory_peak_bytes"]
	if runtime.GOOS == "linux" && (now < 1<<20 || peak < now/2 || s.samples["process_num_threads"] < 1 || s.samples["process_virtual_memory_bytes"] < now ||
		s.samples["process_open_fds"] < 3 || s.samples["process_max_fds"] < s.samples["process_open_fds"]) {
		t.Errorf("resident %v, peak %v: %s", now, peak, s.text)
	}
}

// A mistake in a registration is found when the process starts, in any test.
func TestMistakesPanic(t *testing.T) {
	zero := func() float64 { return 0 }
	for name, f := range map[string]func(*Metrics){
		"twice":                  func(m *Metrics) { m.Gauge("ingest_a_bytes", "A.", zero); m.Gauge("ingest_a_bytes", "A.", zero) },
		"no help":                func(m *Metrics) { m.Gauge("ingest_a_bytes", "", zero) },
		"a counter not in total": func(m *Metrics) { m.Counter("ingest_a_bytes", "A.", zero) },
		"a gauge in total":       func(m *Metrics) { m.Gauge("ingest_a_total", "A.", zero) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(New())
		})
	}
}

// Two pipelines in one process know nothing of each other.
func TestTwoSets(t *testing.T) {
	a, b := New(), New()
	a.Gauge("ingest_test_level_bytes", "A.", func() float64 { return 1 })
	b.Gauge("ingest_test_level_bytes", "B.", func() float64 { return 2.5 })
	if x, y := read(t, a).samples["ingest_test_level_bytes"], read(t, b).samples["ingest_test_level_bytes"]; x != 1 || y != 2.5 {
		t.Errorf("%v and %v", x, y)
	}
}

func TestWriteReportsTheWriter(t *testing.T) {
	m, _ := full()
	if err := m.Write(brokenWriter{}); err == nil {
		t.Error("no error")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestHistogram(t *testing.T) {
	m, h := full()
	for _, d := range []time.Duration{-time.Second, 10 * time.Microsecond, 32 * time.Microsecond, 33 * time.Microsecond, time.Second, time.Hour} {
		h.Observe(d.Microseconds())
	}
	h.Observe(1<<63 - 1)
	s := read(t, m)
	const name = "ingest_test_wait_seconds"
	for suffix, v := range map[string]float64{
		`_bucket{le="3.2e-05"}`: 3, `_bucket{le="6.4e-05"}`: 4, `_bucket{le="0.524288"}`: 4, `_bucket{le="1.048576"}`: 5,
		`_bucket{le="33.554432"}`: 5, `_bucket{le="+Inf"}`: 7, "_count": 7,
	} {
		if got, ok := s.samples[name+suffix]; !ok || got != v {
			t.Errorf("%s = %v, want %v", suffix, got, v)
		}
	}
	if got := strings.Count(s.text, name+"_bucket"); got != 22 {
		t.Errorf("%d buckets", got)
	}
	b := Bytes(256, 1<<20)
	b.Observe(300)
	m.Histogram("ingest_test_batch_bytes", "Sizes.", b)
	s = read(t, m)
	if s.samples[`ingest_test_batch_bytes_bucket{le="256"}`] != 0 || s.samples[`ingest_test_batch_bytes_bucket{le="512"}`] != 1 || s.samples["ingest_test_batch_bytes_sum"] != 300 {
		t.Error(s.text)
	}
}

func TestHistogramObserveAllocatesNothing(t *testing.T) {
	h := Seconds(time.Millisecond, time.Second)
	if n := testing.AllocsPerRun(100, func() { h.Observe(77) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Scrapes and observations at the same time: for the race detector, and nothing is lost.
func TestConcurrentUse(t *testing.T) {
	m, h := full()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 250 {
				h.Observe(1000)
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
	if got := read(t, m).samples["ingest_test_wait_seconds_count"]; got != 1000 {
		t.Errorf("count = %v", got)
	}
}

func BenchmarkHistogramObserve(b *testing.B) {
	h := Seconds(time.Millisecond, time.Second)
	b.ReportAllocs()
	for b.Loop() {
		h.Observe(3000)
	}
}
