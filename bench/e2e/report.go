package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"functiongraph-ingest/test/kafkatest"
)

// report is everything that a run found out, in the form of the JSON file.
type report struct {
	Machine    machine  `json:"machine"`
	Partitions int      `json:"partitions"`
	WarmUp     string   `json:"warmUp"`
	Measure    string   `json:"measure"`
	Args       []string `json:"args,omitempty"`
	Rows       []*row   `json:"rows"`
}

type machine struct {
	Time   time.Time `json:"time"`
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	OS     string    `json:"os"`
	Go     string    `json:"go"`
	Kafka  string    `json:"kafka"`
	Commit string    `json:"commit,omitempty"`
}

func newReport(s *settings) *report {
	return &report{
		Machine: machine{
			Time: time.Now().UTC().Truncate(time.Second), CPU: cpuModel(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
			Go: runtime.Version(), Kafka: kafkatest.Version(), Commit: commit(),
		},
		Partitions: s.partitions, WarmUp: s.warmUp.String(), Measure: s.measure.String(), Args: s.args,
	}
}

func (r *report) printHead(out io.Writer) {
	m := r.Machine
	fmt.Fprintf(out, "%s, %d cores (shared by ingest, the broker and the clients), %s, %s, Apache Kafka %s, commit %s\n",
		m.CPU, m.Cores, m.OS, m.Go, m.Kafka, m.Commit)
	fmt.Fprintf(out, "acks from all replicas (one), idempotent, no compression, %d partitions, events of 240 bytes with traceId; warm-up %s, measured %s %s\n\n",
		r.Partitions, r.WarmUp, r.Measure, strings.Join(r.Args, " "))
	fmt.Fprintf(out, format, "scenario", "round", "events/s", "events/CPU-s", "cores", "p50 ms", "p99 ms", "max ms", "RSS MB", "allocs/ev", "delivered")
}

const format = "%-20s %5s %10s %13s %6s %8s %8s %8s %7s %10s %11s\n"

func (r *report) add(out io.Writer, w *row) {
	r.Rows = append(r.Rows, w)
	delivered := fmt.Sprint(w.AtBroker)
	if w.Problem != "" {
		delivered += "  WRONG: " + w.Problem
	}
	if w.OtherAnswers+w.WithoutAnswer > 0 {
		delivered += fmt.Sprintf("  (%d answers but 200, %d requests without answer)", w.OtherAnswers, w.WithoutAnswer)
	}
	r.line(out, w, fmt.Sprint(w.Round), delivered)
}

func (r *report) line(out io.Writer, w *row, round, delivered string) {
	fmt.Fprintf(out, format, w.Name, round, fmt.Sprintf("%.0f", w.EventsPerSec), fmt.Sprintf("%.0f", w.EventsPerCPU), fmt.Sprintf("%.2f", w.CPUShare),
		fmt.Sprintf("%.2f", w.P50), fmt.Sprintf("%.2f", w.P99), fmt.Sprintf("%.1f", w.Max), fmt.Sprintf("%.1f", float64(w.PeakRSS)/1e6),
		fmt.Sprintf("%.4f", w.AllocsPerEv), delivered)
}

// printSummary prints the median of each figure over the rounds, and the highest peak of memory.
func (r *report) printSummary(out io.Writer) {
	fmt.Fprintln(out, "\nmedian of the rounds; RSS: the highest")
	for _, sc := range scenarios() {
		var rows []*row
		for _, w := range r.Rows {
			if w.scenario == sc {
				rows = append(rows, w)
			}
		}
		if len(rows) == 0 {
			continue
		}
		r.line(out, summary(rows), "-", "")
	}
}

func summary(rows []*row) *row {
	median := func(f func(*row) float64) float64 {
		values := make([]float64, len(rows))
		for i, w := range rows {
			values[i] = f(w)
		}
		slices.Sort(values)
		return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	s := &row{scenario: rows[0].scenario}
	s.EventsPerSec = median(func(w *row) float64 { return w.EventsPerSec })
	s.EventsPerCPU = median(func(w *row) float64 { return w.EventsPerCPU })
	s.CPUShare = median(func(w *row) float64 { return w.CPUShare })
	s.P50 = median(func(w *row) float64 { return w.P50 })
	s.P99 = median(func(w *row) float64 { return w.P99 })
	s.Max = median(func(w *row) float64 { return w.Max })
	s.AllocsPerEv = median(func(w *row) float64 { return w.AllocsPerEv })
	for _, w := range rows {
		s.PeakRSS = max(s.PeakRSS, w.PeakRSS)
	}
	return s
}

func (r *report) wrong() (problems []string) {
	for _, w := range r.Rows {
		if w.Problem != "" {
			problems = append(problems, fmt.Sprintf("%s, round %d: %s", w.Name, w.Round, w.Problem))
		}
	}
	return problems
}

func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": ")
		}
	}
	return runtime.GOARCH
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func selfCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
