package metrics

import (
	"bytes"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
)

// maxBuckets bounds the buckets of a histogram: a factor of two each, from 1 to 2^62.
const maxBuckets = 64

// Histogram counts values in buckets whose bounds are powers of two: finding the bucket is one instruction, and
// a factor of two is what an operator tells apart. Observe is safe for concurrent use and allocates nothing.
type Histogram struct {
	first, last int     // exponents of the smallest and the largest bound
	unit        float64 // what one is, in the metric's unit
	counts      [maxBuckets]atomic.Uint64
	sum         atomic.Int64
}

// Seconds returns a histogram of durations between about low and high, with a precision of a microsecond.
func Seconds(low, high time.Duration) *Histogram {
	return &Histogram{first: exponent(low.Microseconds()), last: exponent(high.Microseconds()), unit: 1e-6}
}

// Bytes returns a histogram of sizes between about low and high.
func Bytes(low, high int64) *Histogram {
	return &Histogram{first: exponent(low), last: exponent(high), unit: 1}
}

// exponent is that of the smallest power of two that is at least n.
func exponent(n int64) int { return bits.Len64(uint64(max(n, 1) - 1)) }

// Observe counts n microseconds or bytes. What is negative (a clock that was set back) counts as 0.
func (h *Histogram) Observe(n int64) {
	n = max(n, 0)
	h.counts[min(max(exponent(n)-h.first, 0), h.last-h.first+1)].Add(1)
	h.sum.Add(n)
}

// Since counts the time since start.
func (h *Histogram) Since(start time.Time) { h.Observe(time.Since(start).Microseconds()) }

// write writes the cumulative buckets. Counts that arrive while it reads are in the total exactly when they are in
// their bucket; the sum may be ahead of it.
func (h *Histogram) write(w *bytes.Buffer, name string) {
	var total uint64
	for i := range h.last - h.first + 1 {
		total += h.counts[i].Load()
		fmt.Fprintf(w, "%s_bucket{le=\"%g\"} %d\n", name, float64(uint64(1)<<(h.first+i))*h.unit, total)
	}
	total += h.counts[h.last-h.first+1].Load()
	fmt.Fprintf(w, "%s_bucket{le=\"+Inf\"} %d\n", name, total)
	fmt.Fprintf(w, "%s_sum %g\n%s_count %d\n", name, float64(h.sum.Load())*h.unit, name, total)
}
