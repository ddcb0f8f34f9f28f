package metrics

import (
	"fmt"
	"io"
	"runtime"
	rtm "runtime/metrics"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// writeProcess writes what the bench and the promises of the settings need, then the library's usual
// process_* and go_* metrics (among them process_resident_memory_bytes and its peak).
func writeProcess(w io.Writer) {
	samples := []rtm.Sample{
		{Name: "/gc/heap/allocs:objects"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	rtm.Read(samples)
	counter(w, "ingest_process_allocated_objects_total", int64(samples[0].Value.Uint64()))
	counter(w, "ingest_process_allocated_bytes_total", int64(samples[1].Value.Uint64()))
	gauge(w, "ingest_process_heap_bytes", int64(samples[2].Value.Uint64()))
	counter(w, "ingest_process_gc_cycles_total", int64(samples[3].Value.Uint64()))
	gauge(w, "ingest_process_goroutines_count", int64(runtime.NumGoroutine()))
	if cpu := cpuTime(); cpu > 0 {
		const name = "ingest_process_cpu_seconds_total"
		vm.WriteMetadataIfNeeded(w, name, "counter")
		fmt.Fprintf(w, "%s %.6f\n", name, cpu.Seconds())
	}
	vm.WriteProcessMetrics(w)
}

// CPUTime is the CPU time of this process so far, user and system, in microseconds' resolution: the
// library's process_cpu_seconds_total counts in hundredths of a second, too coarse for an idle process.
// It is 0 where the system does not tell.
func CPUTime() time.Duration { return cpuTime() }
