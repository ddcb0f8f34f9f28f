package metrics

import (
	"fmt"
	"io"
	"math/bits"
	"sync/atomic"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// The bounds of the buckets are powers of two of a microsecond: 32 us to 33.6 s. Finding the bucket is
// one instruction, and a factor of two is what an operator tells apart.
const (
	firstBound = 5
	lastBound  = 25
	buckets    = lastBound - firstBound + 2 // and one for everything longer
)

// Histogram counts durations in buckets. The library's own histogram writes a kind of bucket that only
// VictoriaMetrics reads; this one writes le, as Prometheus does. The zero value is ready, Observe is safe
// for concurrent use and allocates nothing.
type Histogram struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts d. Negative durations (a clock that was set back) count as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(d)].Add(1)
	h.sum.Add(int64(d))
}

// bucketOf is the index of the smallest bound that is at least d.
func bucketOf(d time.Duration) int {
	us := (uint64(d) + 999) / 1000
	if us <= 1<<firstBound {
		return 0
	}
	return min(bits.Len64(us-1)-firstBound, buckets-1)
}

// write writes the cumulative buckets. Counts that arrive while it reads are in the total exactly when
// they are in their bucket; the sum may be ahead of it.
func (h *Histogram) write(w io.Writer, name string) {
	vm.WriteMetadataIfNeeded(w, name, "histogram")
	var total uint64
	for i := range buckets - 1 {
		total += h.counts[i].Load()
		bound := float64(uint64(1)<<(firstBound+i)) / 1e6
		fmt.Fprintf(w, "%s_bucket{le=\"%g\"} %d\n", name, bound, total)
	}
	total += h.counts[buckets-1].Load()
	fmt.Fprintf(w, "%s_bucket{le=\"+Inf\"} %d\n", name, total)
	fmt.Fprintf(w, "%s_sum %g\n", name, time.Duration(h.sum.Load()).Seconds())
	fmt.Fprintf(w, "%s_count %d\n", name, total)
}
