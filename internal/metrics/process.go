package metrics

import (
	"fmt"
	"io"
	"runtime"
	rtm "runtime/metrics"
	"time"

	vm "github.com/VictoriaMetrics/metrics"

	"functiongraph-ingest/internal/procs"
)

// What is read of the runtime at each scrape, and how it is called. None of it stops the world, as
// runtime.ReadMemStats does; the histograms of the runtime, hundreds of lines, are left to pprof and traces.
var runtimeCounters, runtimeGauges = [...][2]string{
	{"/gc/heap/allocs:objects", "ingest_process_allocated_objects_total"},
	{"/gc/heap/allocs:bytes", "ingest_process_allocated_bytes_total"},
	{"/gc/cycles/total:gc-cycles", "ingest_process_gc_cycles_total"},
}, [...][2]string{
	{"/memory/classes/heap/objects:bytes", "ingest_process_heap_bytes"},
	{"/memory/classes/heap/free:bytes", "go_heap_free_bytes"},
	{"/memory/classes/heap/released:bytes", "go_heap_released_bytes"},
	{"/memory/classes/heap/stacks:bytes", "go_stacks_bytes"},
	{"/memory/classes/total:bytes", "go_memory_bytes"},
	{"/gc/heap/goal:bytes", "go_heap_goal_bytes"},
	{"/gc/gomemlimit:bytes", "go_memlimit_bytes"},
	{"/sched/gomaxprocs:threads", "go_gomaxprocs"},
	{"/sched/goroutines:goroutines", "go_goroutines"},
	// The names of Prometheus' own client, as far as dashboards use them.
	{"/memory/classes/heap/objects:bytes", "go_memstats_alloc_bytes"},
	{"/memory/classes/total:bytes", "go_memstats_sys_bytes"},
	{"/gc/heap/goal:bytes", "go_memstats_next_gc_bytes"},
}

// process writes what the bench, the promises of the settings and an operator need to know of the process.
type process struct {
	started time.Time
	samples [len(runtimeCounters) + len(runtimeGauges)]rtm.Sample
}

func newProcess() *process {
	p := &process{started: time.Now()}
	for i := range runtimeCounters {
		p.samples[i].Name = runtimeCounters[i][0]
	}
	for i := range runtimeGauges {
		p.samples[len(runtimeCounters)+i].Name = runtimeGauges[i][0]
	}
	return p
}

func (p *process) write(w io.Writer) {
	samples := p.samples // a copy: two scrapes may run at the same time
	rtm.Read(samples[:])
	for i := range samples {
		if samples[i].Value.Kind() != rtm.KindUint64 {
			continue // this version of Go does not know it
		}
		n := int64(samples[i].Value.Uint64())
		if i < len(runtimeCounters) {
			counter(w, runtimeCounters[i][1], n)
		} else {
			gauge(w, runtimeGauges[i-len(runtimeCounters)][1], n)
		}
	}
	gauge(w, "ingest_process_goroutines_count", int64(runtime.NumGoroutine()))
	if cpu := procs.CPUTime(); cpu > 0 {
		for _, name := range []string{"ingest_process_cpu_seconds_total", "process_cpu_seconds_total"} {
			vm.WriteMetadataIfNeeded(w, name, "counter")
			fmt.Fprintf(w, "%s %.6f\n", name, cpu.Seconds())
		}
	}
	vm.WriteFDMetrics(w) // process_open_fds, process_max_fds: a crowd of connections may run out of them
	gauge(w, "process_start_time_seconds", p.started.Unix())
	writeMemory(w)
	vm.WriteMetadataIfNeeded(w, "go_info", "gauge")
	fmt.Fprintf(w, "go_info{version=%q} 1\n", runtime.Version())
}
