package metrics

import (
	"runtime"
	rtm "runtime/metrics"
	"strings"
	"time"

	"functiongraph-ingest/internal/procs"
)

// What is read of the runtime at each scrape. None of it stops the world, as runtime.ReadMemStats does; the
// histograms of the runtime, hundreds of lines, are left to pprof and traces.
var runtimeNames = [...]struct{ name, metric, help string }{
	{"/gc/heap/allocs:objects", "ingest_process_allocated_objects_total", "Objects allocated on the Go heap."},
	{"/gc/heap/allocs:bytes", "ingest_process_allocated_bytes_total", "Bytes allocated on the Go heap."},
	{"/gc/cycles/total:gc-cycles", "ingest_process_gc_cycles_total", "Garbage collections."},
	{"/memory/classes/heap/objects:bytes", "ingest_process_heap_bytes", "Bytes of objects on the Go heap, garbage included."},
	{"/memory/classes/heap/free:bytes", "go_heap_free_bytes", "Bytes of the heap that are free and not given back to the system."},
	{"/memory/classes/heap/released:bytes", "go_heap_released_bytes", "Bytes of the heap that were given back to the system."},
	{"/memory/classes/heap/stacks:bytes", "go_stacks_bytes", "Bytes of goroutine stacks."},
	{"/memory/classes/total:bytes", "go_memory_bytes", "All bytes that the Go runtime has mapped."},
	{"/gc/heap/goal:bytes", "go_heap_goal_bytes", "Heap size at which the next collection ends."},
	{"/gc/gomemlimit:bytes", "go_memlimit_bytes", "GOMEMLIMIT; it comes from --memory-limit."},
	{"/sched/gomaxprocs:threads", "go_gomaxprocs", "GOMAXPROCS: processors in use, as the load needs them."},
	{"/sched/goroutines:goroutines", "go_goroutines", "Goroutines."},
}

// Process adds what the bench, the promises of the settings and an operator need to know of the process.
func (m *Metrics) Process() {
	type readings struct {
		runtime [len(runtimeNames)]float64
		status  map[string]int64
	}
	read := Read(m, func() (r readings) {
		var samples [len(runtimeNames)]rtm.Sample
		for i := range samples {
			samples[i].Name = runtimeNames[i].name
		}
		rtm.Read(samples[:])
		for i := range samples {
			if samples[i].Value.Kind() == rtm.KindUint64 { // else this version of Go does not know it
				r.runtime[i] = float64(samples[i].Value.Uint64())
			}
		}
		r.status = processStatus()
		return r
	})
	for i, n := range runtimeNames {
		add := m.Gauge
		if strings.HasSuffix(n.metric, "_total") {
			add = m.Counter
		}
		add(n.metric, n.help, func() float64 { return read.runtime[i] })
	}
	for _, s := range statusLines {
		m.Gauge(s.name, s.help, func() float64 { return float64(read.status[s.name]) })
	}
	m.Counter("process_cpu_seconds_total", "User and system CPU time.", func() float64 { return procs.CPUTime().Seconds() })
	started := float64(time.Now().Unix())
	m.Gauge("process_start_time_seconds", "Start of the process, seconds since the Unix epoch.", func() float64 { return started })
	m.Info("go_info", "Version of Go.", [2]string{"version", runtime.Version()})
}
