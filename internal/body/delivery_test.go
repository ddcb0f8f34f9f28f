package body

import (
	"sync"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

var _ sink.Ack = (*Delivery)(nil)

func signalled(d *Delivery) bool {
	select {
	case <-d.Done():
		return true
	default:
		return false
	}
}

// TestDelivery: Done comes with the last part, once.
func TestDelivery(t *testing.T) {
	d := NewDelivery()
	for range 2 {
		d.Hold()
		d.Hold()
		d.Settle(2)
		d.Settle(0)
		if signalled(d) {
			t.Fatal("done with a part out")
		}
		d.Settle(1)
		if !signalled(d) || signalled(d) {
			t.Fatal("not done, or twice")
		}
		if d.Lost() != 3 || d.GivenUp() {
			t.Errorf("lost %d, given up %v", d.Lost(), d.GivenUp())
		}
		if d.GiveUp() || signalled(d) {
			t.Error("given up after it was done")
		}
		d.Reset()
		if d.Lost() != 0 || d.GivenUp() {
			t.Error("not as new after Reset")
		}
	}
}

// TestGiveUp: Done comes at once; parts that are held and settled later change nothing.
func TestGiveUp(t *testing.T) {
	d := NewDelivery()
	d.Hold()
	if !d.GiveUp() || d.GiveUp() {
		t.Error("GiveUp succeeds once")
	}
	if !signalled(d) || !d.GivenUp() {
		t.Error("not signalled")
	}
	d.Hold()
	d.Settle(0)
	d.Settle(0)
	d.Settle(0)
	if signalled(d) || !d.GivenUp() {
		t.Error("signalled by the parts that were left")
	}
}

// TestGiveUpRace: of the last Settle and GiveUp exactly one signals, and both sides agree which.
func TestGiveUpRace(t *testing.T) {
	for range 5000 {
		d := NewDelivery()
		var wg sync.WaitGroup
		gaveUp := make([]bool, 2)
		wg.Go(func() { d.Hold(); d.Settle(0); d.Settle(0) })
		for i := range gaveUp {
			wg.Go(func() { gaveUp[i] = d.GiveUp() })
		}
		<-d.Done()
		wg.Wait()
		if signalled(d) || gaveUp[0] && gaveUp[1] || (gaveUp[0] || gaveUp[1]) != d.GivenUp() {
			t.Fatalf("gave up %v, given up %v", gaveUp, d.GivenUp())
		}
	}
}

func BenchmarkDelivery(b *testing.B) {
	d := NewDelivery()
	b.ReportAllocs()
	for b.Loop() {
		d.Hold()
		d.Settle(0)
		d.Settle(0)
		<-d.Done()
		d.Reset()
	}
}
