package kafka

import (
	"testing"
	"time"
)

// TestPausesStayWithinTheirBounds: also after failures without number, where a shift would overflow.
func TestPausesStayWithinTheirBounds(t *testing.T) {
	for _, tt := range []struct{ first, most time.Duration }{
		{50 * time.Millisecond, time.Second}, {time.Second, 30 * time.Second}, {1, 1}, {time.Hour, 24 * time.Hour},
	} {
		for _, n := range []int{1, 2, 3, 5, 11, 64, 1000, 1 << 30} {
			whole := tt.most
			if n < 11 {
				whole = min(tt.most, tt.first<<(n-1))
			}
			for range 100 {
				if d := doubling(n, tt.first, tt.most); d < whole/2 && n < 11 || d > whole || d < 0 {
					t.Fatalf("after %d failures: %v, want between %v and %v", n, d, whole/2, whole)
				}
			}
		}
	}
}
