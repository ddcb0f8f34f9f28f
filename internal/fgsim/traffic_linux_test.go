package fgsim

import (
	"testing"
	"time"
)

// The events of a second come in its first part, and their number is that of the rate.
func TestPaceInBursts(t *testing.T) {
	p := pace{rate: 100, burst: 4, begun: time.Now().Add(time.Hour)} // never late
	var last time.Duration
	for i := range 1000 {
		at := p.due().Sub(p.begun)
		if whole := time.Duration(i/100) * time.Second; at < last || at < whole || at > whole+250*time.Millisecond {
			t.Fatalf("event %d is due at %v", i, at)
		}
		last = at
		p.sent(1)
	}
}
