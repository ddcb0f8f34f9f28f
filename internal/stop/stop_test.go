package stop

import (
	"testing"
	"time"
)

// The parts are within the whole, in the order in which they end, for every setting that is allowed.
func TestPartsAreWithinTheWhole(t *testing.T) {
	for _, all := range []time.Duration{10 * time.Millisecond, time.Second, 2 * time.Second, 20 * time.Second, 24 * time.Hour} {
		b := Within(all)
		if b.All != all || b.Bodies <= 0 || b.Disk <= 0 || b.Sink-b.Disk <= b.Bodies || b.Sink >= all {
			t.Errorf("%v: %+v", all, b)
		}
		if a := b.After(all / 4); a != Within(all-all/4) || b.After(all) != Within(all-all/2) || b.After(0) != b {
			t.Errorf("%v after a late intake: %+v", all, a)
		}
		for _, timeout := range []time.Duration{1, time.Millisecond, time.Second, 3 * time.Second, time.Hour} {
			if send, end := Replay(timeout, all); send+end != timeout || send <= 0 || end < 0 || end > all {
				t.Errorf("--timeout=%v, --shutdown-timeout=%v: %v and %v", timeout, all, send, end)
			}
		}
	}
}
