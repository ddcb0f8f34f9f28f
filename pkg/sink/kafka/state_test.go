package kafka

import (
	"testing"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// TestHomeIsReadOffTheBatch: for every combination of the facts.
func TestHomeIsReadOffTheBatch(t *testing.T) {
	rb, root := recordbatch.NewPrivateBatch(64), &batch{}
	for _, tt := range []struct {
		b        batch
		want     home
		unframed bool
	}{
		{batch{rb: rb}, homeMemory, true},
		{batch{rb: rb, writing: true}, homeWriting, true},
		{batch{rb: rb, pos: 1}, homeBoth, false},
		{batch{rb: rb, pos: 1, loaded: true}, homeBoth, false},
		{batch{pos: 1}, homeDisk, false},
		{batch{pos: 1, loaded: true}, homeBoth, false}, // it is being read
		{batch{rb: rb, coveredBy: root}, homeCovered, false},
	} {
		if got := tt.b.home(); got != tt.want || tt.b.unframed() != tt.unframed {
			t.Errorf("%+v: home %d, want %d; unframed %v", tt.b, got, tt.want, tt.b.unframed())
		}
	}
}

// TestEveryStateIsReachedAndStays: a state that no step reaches from where a batch begins would never be checked.
func TestEveryStateIsReachedAndStays(t *testing.T) {
	phases, homes := phaseOpen, homeMemory
	for range 4 {
		for p := phaseOpen; p <= phaseInDoubt; p <<= 1 {
			if p.next()&p == 0 || p.homes() == 0 {
				t.Errorf("phase %d cannot stay", p)
			}
			if phases&p != 0 {
				phases |= p.next()
			}
		}
		for h := homeMemory; h <= homeDisk; h <<= 1 {
			if h.next()&h == 0 {
				t.Errorf("home %d cannot stay", h)
			}
			if homes&h != 0 {
				homes |= h.next()
			}
		}
	}
	if phases != phaseOpen|phaseQueued|phaseSending|phaseInDoubt || homes != homeMemory|homeWriting|homeBoth|homeDisk {
		t.Errorf("phases %b and homes %b are reached", phases, homes)
	}
	if p, h := phase(0), home(0); p.next() != 0 || p.homes() != 0 || h.next() != 0 {
		t.Error("no state is a state")
	}
}
