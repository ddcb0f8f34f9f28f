package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names of ingest's metrics that are read here.
const (
	metricAllocations = "ingest_process_allocated_objects_total"
	metricDelivered   = "ingest_ledger_delivered_events_total"
	metricInFlight    = "ingest_ledger_in_flight_events"
	metricRawBytes    = "ingest_kafka_raw_bytes_total"
	metricWireBytes   = "ingest_kafka_wire_bytes_total"
)

// sampleEvery is the distance of the points of a series.
const sampleEvery = 500 * time.Millisecond

// reading is what a process has used up so far.
type reading struct {
	cpu      time.Duration
	self     time.Duration // of this process, most of it the generator
	switches int64         // voluntary and involuntary context switches of all threads
	metrics  map[string]float64
}

func (p *process) read(withMetrics bool) (r reading, err error) {
	if withMetrics && p.ours() {
		if r.metrics, err = p.Metrics(); err != nil {
			return r, err
		}
	}
	r.self = selfCPU()
	r.cpu, r.switches, err = usage(p.PID())
	return r, err
}

// usage adds up the CPU time, in nanoseconds where /proc/PID/stat has steps of 10 ms, and the context
// switches of all threads that still live. Go and most servers never end a thread.
func usage(pid int) (cpu time.Duration, switches int64, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(tasks) == 0 {
		return 0, 0, fmt.Errorf("no process %d", pid)
	}
	for _, task := range tasks {
		var ran, waited, slices int64
		stat, err := os.ReadFile(task + "/schedstat")
		if err != nil {
			continue // it has just ended
		}
		if _, err := fmt.Sscan(string(stat), &ran, &waited, &slices); err != nil {
			return 0, 0, fmt.Errorf("%s/schedstat: %w", task, err)
		}
		cpu += time.Duration(ran)
		status, _ := os.ReadFile(task + "/status")
		for line := range strings.Lines(string(status)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.HasSuffix(name, "voluntary_ctxt_switches") {
				var n int64
				_, _ = fmt.Sscan(value, &n)
				switches += n
			}
		}
	}
	return cpu, switches, nil
}

func selfCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Sample is one point of a series.
type Sample struct {
	At        float64 `json:"at"` // seconds since the load began
	RSS       int64   `json:"rss"`
	CPU       float64 `json:"cpu"`       // cores, since the last sample
	Delivered float64 `json:"delivered"` // so far; of ingest only
	InFlight  float64 `json:"inFlight"`
}

// sampler looks at a process until it is told to stop.
type sampler struct {
	quit, done chan struct{}
	samples    []Sample
}

// sample starts to look. Asking for metrics costs ingest a millisecond each time, so it is done only where the
// series of deliveries is wanted.
func (p *process) sample(withMetrics bool) *sampler {
	s := &sampler{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		ticker := time.NewTicker(sampleEvery)
		defer ticker.Stop()
		begin := time.Now()
		lastCPU, _, _ := usage(p.PID())
		last := begin
		for {
			select {
			case <-s.quit:
				return
			case now := <-ticker.C:
				r, err := p.read(withMetrics)
				if err != nil {
					continue // starved or gone: a gap in the series
				}
				rss, _ := p.RSS()
				s.samples = append(s.samples, Sample{
					At: now.Sub(begin).Seconds(), RSS: rss, CPU: (r.cpu - lastCPU).Seconds() / now.Sub(last).Seconds(),
					Delivered: r.metrics[metricDelivered], InFlight: r.metrics[metricInFlight],
				})
				lastCPU, last = r.cpu, now
			}
		}
	}()
	return s
}

func (s *sampler) stop() []Sample {
	close(s.quit)
	<-s.done
	return s.samples
}
