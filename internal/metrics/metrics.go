// Package metrics writes a pipeline's state as Prometheus text. Nothing is counted here except histograms: the
// numbers are read from their owners when they are asked for, so that the way of the data pays nothing for being watched.
//
// Names are ingest_<part>_<noun>_<unit|total>, in base units: seconds and bytes. Their owners register them with the
// text that stands in the HELP line and in docs/metrics.md. Every pipeline has its own [Metrics].
package metrics

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Metrics is a set of metrics. All methods are safe for concurrent use.
type Metrics struct {
	mu       sync.Mutex
	before   []func()
	families []family
}

// family is one metric with all its labels.
type family struct {
	name, kind, help string
	label            string // "" without
	write            func(w *bytes.Buffer)
}

// Usage is how much of a bounded thing is taken, in that thing's unit.
type Usage struct{ Used, Limit int64 }

// New returns an empty set.
func New() *Metrics { return &Metrics{} }

// Read has read called once before each scrape, so that all numbers that are taken out of the result are of one
// instant. What it returns is valid within the functions of the metrics only.
func Read[T any](m *Metrics, read func() T) *T {
	v := new(T)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = append(m.before, func() { *v = read() })
	return v
}

// Gauge adds a value that may go up and down.
func (m *Metrics) Gauge(name, help string, f func() float64) {
	m.add(name, "gauge", help, "", func(w *bytes.Buffer) { line(w, name, "", "", f()) })
}

// Counter adds a count that never goes down.
func (m *Metrics) Counter(name, help string, f func() float64) {
	m.add(name, "counter", help, "", func(w *bytes.Buffer) { line(w, name, "", "", f()) })
}

// Counters adds a count per value of one label. The values in known are written from the start, with 0: a rate does not
// miss the first one then.
func (m *Metrics) Counters(name, help, label string, known []string, f func() map[string]int64) {
	m.add(name, "counter", help, label, func(w *bytes.Buffer) {
		all := map[string]int64{}
		for _, v := range known {
			all[v] = 0
		}
		maps.Copy(all, f())
		for _, v := range slices.Sorted(maps.Keys(all)) {
			line(w, name, label, v, float64(all[v]))
		}
	})
}

// State adds a gauge per value of one label: 1 for the current one, 0 for the others.
func (m *Metrics) State(name, help, label string, known []string, f func() string) {
	m.add(name, "gauge", help, label, func(w *bytes.Buffer) {
		now := f()
		for _, v := range known {
			line(w, name, label, v, number(v == now))
		}
	})
}

// Info adds a gauge that is always 1 and carries texts in its labels, of which the names are given in order.
func (m *Metrics) Info(name, help string, labels ...[2]string) {
	m.add(name, "gauge", help, labels[0][0], func(w *bytes.Buffer) {
		w.WriteString(name)
		for i, l := range labels {
			w.WriteByte("{,"[min(i, 1)])
			w.WriteString(l[0] + "=" + quote(l[1]))
		}
		w.WriteString("} 1\n")
	})
}

// Usage adds <part>_used_<unit> and <part>_limit_<unit>.
func (m *Metrics) Usage(part, unit, what string, f func() Usage) {
	m.Gauge(part+"_used_"+unit, what+" in use.", func() float64 { return float64(f().Used) })
	m.Gauge(part+"_limit_"+unit, what+" at most.", func() float64 { return float64(f().Limit) })
}

// Histogram adds h.
func (m *Metrics) Histogram(name, help string, h *Histogram) {
	m.add(name, "histogram", help, "", func(w *bytes.Buffer) { h.write(w, name) })
}

// add registers a family. It panics when the name is taken, or is no name: that is a mistake of ours.
func (m *Metrics) add(name, kind, help, label string, write func(*bytes.Buffer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if help == "" || strings.HasSuffix(name, "_total") != (kind == "counter") {
		panic("metrics: " + name + " has no help, or a name that does not fit to its kind")
	}
	for i := range m.families {
		if m.families[i].name == name {
			panic("metrics: " + name + " is registered twice")
		}
	}
	m.families = append(m.families, family{name, kind, help, label, write})
}

// Write writes everything in the text format of Prometheus, in the order of names.
func (m *Metrics) Write(w io.Writer) error {
	var buf bytes.Buffer // a slow reader holds no lock
	m.mu.Lock()
	for _, f := range m.before {
		f()
	}
	for _, f := range m.sorted() {
		fmt.Fprintf(&buf, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		f.write(&buf)
	}
	m.mu.Unlock()
	_, err := w.Write(buf.Bytes())
	return err
}

func (m *Metrics) sorted() []family {
	slices.SortFunc(m.families, func(a, b family) int { return strings.Compare(a.name, b.name) })
	return m.families
}

// Markdown is the page about all metrics of the set.
func (m *Metrics) Markdown() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	b.WriteString("| metric | type | |\n|---|---|---|\n")
	for _, f := range m.sorted() {
		name := f.name
		if f.label != "" {
			name += "{" + f.label + "}"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, f.kind, strings.ReplaceAll(f.help, "|", "\\|"))
	}
	return b.String()
}

func line(w *bytes.Buffer, name, label, value string, n float64) {
	w.WriteString(name)
	if label != "" {
		w.WriteString("{" + label + "=" + quote(value) + "}")
	}
	w.WriteByte(' ')
	w.WriteString(format(n))
	w.WriteByte('\n')
}

func format(n float64) string {
	if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatFloat(n, 'g', -1, 64)
}

// quote escapes a label's value as the format asks: backslash, quote and newline, and nothing else.
func quote(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(v, "\ufffd")) + `"`
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Bool is 1 or 0.
func Bool(b bool) float64 { return number(b) }
