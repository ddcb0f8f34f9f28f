package hist

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var h, other Hist
	var values []time.Duration
	for i := range 50_000 {
		d := time.Duration(rng.ExpFloat64() * float64(time.Millisecond))
		values = append(values, d)
		if i%2 == 0 {
			h.Add(d)
		} else {
			other.Add(d)
		}
	}
	h.Merge(&other)
	slices.Sort(values)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		exact := values[max(int(q*float64(len(values)))-1, 0)]
		got := h.Quantile(q)
		if got < exact || float64(got) > float64(exact)*1.017+1 {
			t.Errorf("quantile %v = %v, exactly %v", q, got, exact)
		}
	}
	if h.Count() != 50_000 || h.Max() != values[len(values)-1] || h.Quantile(1) != h.Max() {
		t.Errorf("count %d, max %v, highest %v", h.Count(), h.Max(), h.Quantile(1))
	}
}

func TestHistBuckets(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 65, 127, 128, 12345, time.Second, time.Hour, 1 << 62} {
		i := bucketOf(d)
		if i < 0 || i >= buckets {
			t.Fatalf("bucket of %d is %d", d, i)
		}
		if d >= 0 && d < time.Minute && (upperBound(i) < d || i > 0 && upperBound(i-1) >= d) {
			t.Errorf("%d is in the bucket (%d, %d]", d, upperBound(i-1), upperBound(i))
		}
	}
	if (&Hist{}).Quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}
