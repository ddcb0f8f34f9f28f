// Package metrics writes a pipeline's state as Prometheus text. Nothing is counted here: the numbers are
// read from their owners when somebody asks, so that the way of the data pays nothing for being watched.
//
// Names are ingest_<part>_<noun>_<unit|total>. Every pipeline has its own [Metrics]; only this package
// imports the library below it.
package metrics

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strconv"

	vm "github.com/VictoriaMetrics/metrics"

	"functiongraph-ingest/internal/ledger"
)

// Usage is how much of a bounded thing is taken, in that thing's unit.
type Usage struct{ Used, Limit int64 }

// Source is where the numbers come from. Every function may be nil (its metrics are left out), is called
// from the scraper's goroutine, and must be safe for concurrent use.
type Source struct {
	Ledger      func() ledger.Ledger // called once per scrape: all its numbers are of one snapshot
	Ready       func() error         // nil: ready
	Gate        func() Usage         // bytes of bodies
	GateWaiters func() int64         // deliveries that wait for room
	Ring        func() Usage         // bodies that wait for a decoder
	Buffers     func() Usage         // bytes of batches
	Conns       func() Usage         // open connections
}

// Metrics is a set of metrics. All methods are safe for concurrent use.
type Metrics struct{ set *vm.Set }

// New returns the metrics of src and of the process.
func New(src Source) *Metrics {
	vm.ExposeMetadata(true) // types, without which rates of some collectors go wrong; the same for all sets
	m := &Metrics{set: vm.NewSet()}
	if src.Ledger != nil {
		m.set.RegisterMetricsWriter(func(w io.Writer) {
			l := src.Ledger()
			writeLedger(w, &l)
		})
	}
	if src.Ready != nil {
		m.Gauge("ingest_pipeline_ready_bool", func() float64 { return boolNumber(src.Ready() == nil) })
	}
	if src.GateWaiters != nil {
		m.Gauge("ingest_gate_waiting_bodies", func() float64 { return float64(src.GateWaiters()) })
	}
	m.usage("ingest_gate", "bytes", src.Gate)
	m.usage("ingest_ring", "bodies", src.Ring)
	m.usage("ingest_buffers", "bytes", src.Buffers)
	m.usage("ingest_listen", "connections", src.Conns)
	m.set.RegisterMetricsWriter(newProcess().write)
	return m
}

// usage adds <part>_used_<unit> and <part>_limit_<unit>.
func (m *Metrics) usage(part, unit string, f func() Usage) {
	if f == nil {
		return
	}
	m.Gauge(part+"_used_"+unit, func() float64 { return float64(f().Used) })
	m.Gauge(part+"_limit_"+unit, func() float64 { return float64(f().Limit) })
}

// Gauge adds a value that f reads. It panics when the name is taken or is not a metric's name.
func (m *Metrics) Gauge(name string, f func() float64) { m.set.NewGauge(name, f) }

// Counter adds a count that f reads and that never goes down.
func (m *Metrics) Counter(name string, f func() int64) {
	m.set.RegisterMetricsWriter(func(w io.Writer) { counter(w, name, f()) })
}

// Counters adds a count per value of one label, for example per reason.
func (m *Metrics) Counters(name, label string, f func() map[string]int64) {
	m.set.RegisterMetricsWriter(func(w io.Writer) { counters(w, name, label, f()) })
}

// Histogram adds a histogram of durations; name should end in _seconds.
func (m *Metrics) Histogram(name string) *Histogram {
	h := &Histogram{}
	m.set.RegisterMetricsWriter(func(w io.Writer) { h.write(w, name) })
	return h
}

// Write writes everything in the text format of Prometheus.
func (m *Metrics) Write(w io.Writer) error {
	var buf bytes.Buffer // a slow reader holds none of the library's locks
	m.set.WritePrometheus(&buf)
	_, err := w.Write(buf.Bytes())
	return err
}

func writeLedger(w io.Writer, l *ledger.Ledger) {
	counter(w, "ingest_ledger_admitted_events_total", l.Admitted)
	counter(w, "ingest_ledger_recovered_events_total", l.Recovered)
	counter(w, "ingest_ledger_delivered_events_total", l.Delivered)
	counter(w, "ingest_ledger_dead_lettered_events_total", l.DeadLettered)
	counter(w, "ingest_ledger_set_aside_events_total", l.SetAside)
	gauge(w, "ingest_ledger_spooled_events", l.Spooled)
	gauge(w, "ingest_ledger_in_flight_events", l.InFlight)
	gauge(w, "ingest_ledger_missing_events", l.Missing())
	counters(w, "ingest_ledger_dropped_events_total", "reason", l.Dropped)
	counter(w, "ingest_ledger_possible_duplicate_events_total", l.PossibleDuplicates)
	counter(w, "ingest_ledger_suppressed_duplicate_events_total", l.DuplicatesSuppressed)
	gauge(w, "ingest_ledger_idempotent_bool", int64(boolNumber(l.Idempotent)))
	counter(w, "ingest_ledger_own_lines_total", l.OwnLines)
	counter(w, "ingest_ledger_admitted_bodies_total", l.Bodies.Admitted)
	counters(w, "ingest_ledger_refused_bodies_total", "reason", l.Bodies.Refused)
}

func counter(w io.Writer, name string, n int64) {
	vm.WriteMetadataIfNeeded(w, name, "counter")
	line(w, name, n)
}

func gauge(w io.Writer, name string, n int64) {
	vm.WriteMetadataIfNeeded(w, name, "gauge")
	line(w, name, n)
}

// counters writes one line per label value, sorted, under one type line.
func counters(w io.Writer, name, label string, counts map[string]int64) {
	if len(counts) == 0 {
		return
	}
	vm.WriteMetadataIfNeeded(w, name, "counter")
	for _, value := range slices.Sorted(maps.Keys(counts)) {
		line(w, name+"{"+label+"="+strconv.Quote(value)+"}", counts[value])
	}
}

func line(w io.Writer, name string, n int64) {
	io.WriteString(w, name+" "+strconv.FormatInt(n, 10)+"\n")
}

func boolNumber(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
