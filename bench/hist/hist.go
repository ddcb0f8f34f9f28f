// Package hist is a histogram of durations.
package hist

import (
	"math/bits"
	"time"
)

// subBits: each power of two is divided into 64 steps, so a value read back is at most 1.6 % too high.
const (
	subBits = 6
	subs    = 1 << subBits
	buckets = (42 - subBits) * subs // up to 2^41 ns, 36 minutes
)

// Hist is a histogram of durations with a fixed relative error. It is not safe for concurrent use.
type Hist struct {
	counts [buckets]uint64
	n      uint64
	max    time.Duration
}

// Add counts one value.
func (h *Hist) Add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.n++
	h.max = max(h.max, d)
}

// Merge adds all of other.
func (h *Hist) Merge(other *Hist) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// Count is the number of values.
func (h *Hist) Count() uint64 { return h.n }

// Max is the highest value, exactly.
func (h *Hist) Max() time.Duration { return h.max }

// Quantile returns the value that a share q (0 to 1) of all values does not exceed; 0 when empty.
func (h *Hist) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q * float64(h.n))
	if float64(rank) < q*float64(h.n) {
		rank++
	}
	rank = max(rank, 1)
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return min(upperBound(i), h.max)
		}
	}
	return h.max
}

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < subs {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return min((shift+1)*subs+int(v>>shift)-subs, buckets-1)
}

// upperBound is the highest value of a bucket.
func upperBound(i int) time.Duration {
	if i < subs {
		return time.Duration(i)
	}
	shift := i/subs - 1
	return time.Duration((uint64(i%subs+subs)+1)<<shift - 1)
}
