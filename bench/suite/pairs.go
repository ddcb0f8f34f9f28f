package suite

import (
	"fmt"
	"slices"
)

// leastPairs is how many pairs an interval of 95 % takes: with five, all lie on one side of the median in 6 % of the cases.
const leastPairs = 6

// Pairs compares what an event costs with two targets that were measured in turn. Each pair is two neighbours in
// time, so that what changes slowly on a noisy machine changes both.
type Pairs struct {
	Load   string
	Target string
	Base   string // the scenario's first target
	// More is the additional CPU time per event, as a share of the base's: the median of the pairs.
	More float64
	// Low and High are the interval that has the true median with 95 % certainty, whatever the distribution: that of
	// these two processes. What a process keeps for life, as where its memory lies, is in all of its pairs.
	Low, High float64
	N         int
	// Raw and Wire are bytes of an event in a batch, before compression and as sent: with the target, and with the base.
	// Zero: the program does not tell.
	Raw, Wire [2]float64
}

// Pairs compares each target with the first one. Only interleaved scenarios have pairs.
func (r *Result) Pairs() (list []Pairs) {
	s := r.Scenario
	if !s.Interleaved {
		return nil
	}
	for _, t := range s.Targets[1:] {
		for _, l := range s.Loads {
			ratios := r.ratios(l.Name, s.Targets[0].Name, t.Name)
			if len(ratios) < leastPairs {
				continue
			}
			low, high := interval(ratios)
			p := Pairs{Load: l.Name, Target: t.Name, Base: s.Targets[0].Name, More: median(ratios) - 1, Low: low - 1, High: high - 1, N: len(ratios)}
			p.Raw[0], p.Wire[0] = r.bytes(l.Name, p.Target)
			p.Raw[1], p.Wire[1] = r.bytes(l.Name, p.Base)
			list = append(list, p)
		}
	}
	return list
}

// ratios are the costs of an event with a target, each divided by that with base in the same round.
func (r *Result) ratios(load, base, target string) (list []float64) {
	cost := map[int]float64{}
	for _, w := range r.Rows {
		if w.Load == load && w.Target == base && w.Round > 0 && w.EventsPerCPU > 0 {
			cost[w.Round] = 1 / w.EventsPerCPU
		}
	}
	for _, w := range r.Rows {
		if c := cost[w.Round]; w.Load == load && w.Target == target && c > 0 && w.EventsPerCPU > 0 {
			list = append(list, 1/w.EventsPerCPU/c)
		}
	}
	return list
}

// bytes are the medians of what an event takes in a batch with a target.
func (r *Result) bytes(load, target string) (raw, wire float64) {
	var raws, wires []float64
	for _, w := range r.Rows {
		if w.Load == load && w.Target == target && w.Round > 0 && w.RawPerEv > 0 {
			raws, wires = append(raws, w.RawPerEv), append(wires, w.WirePerEv)
		}
	}
	if raws == nil {
		return 0, 0
	}
	return median(raws), median(wires)
}

// interval is the sign test's, of leastPairs values or more: the k-th value from either end, with the greatest k whose two tails of a fair
// coin's distribution hold no more than 5 %.
func interval(values []float64) (low, high float64) {
	slices.Sort(values)
	n := len(values)
	p, tail := 1.0, 0.0 // of i heads in n throws, and of at most i
	for range n {
		p /= 2
	}
	k := 0
	for i := 0; i < n/2; i++ {
		if tail += p; 2*tail > 0.05 {
			break
		}
		k = i + 1
		p = p * float64(n-i) / float64(i+1)
	}
	return values[k-1], values[n-k]
}

// String is one line of a report.
func (p Pairs) String() string {
	text := fmt.Sprintf("%s: %s costs %+.1f %% CPU per event beside %s (95 %%: %+.1f to %+.1f; %d pairs)",
		p.Load, p.Target, 100*p.More, p.Base, 100*p.Low, 100*p.High, p.N)
	if p.Raw[0] > 0 && p.Raw[1] > 0 {
		text += fmt.Sprintf("; an event takes %.0f bytes of a batch beside %.0f, and %.0f beside %.0f as sent", p.Raw[0], p.Raw[1], p.Wire[0], p.Wire[1])
	}
	return text
}
