package suite

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestPairs finds a difference that is smaller than what the machine does to both of a pair.
func TestPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	r := &Result{Scenario: &Scenario{Interleaved: true, Targets: []Target{{Name: "base"}, {Name: "new"}}, Loads: []Load{{Name: "a"}, {Name: "b"}}}}
	for round := range 31 { // 0 is there to warm up
		machine := 0.5 + rng.Float64()
		for target, cost := range map[string]float64{"base": 1, "new": 1.08} {
			r.Rows = append(r.Rows, &Row{Target: target, Load: "a", Round: round, EventsPerCPU: 1e6 / (cost * machine * (0.97 + 0.06*rng.Float64()))})
		}
	}
	r.Rows = append(r.Rows, &Row{Target: "new", Load: "b", Round: 1, EventsPerCPU: 1}) // without a partner
	list := r.Pairs()
	if len(list) != 1 {
		t.Fatalf("%v", list)
	}
	p := list[0]
	if p.N != 30 || p.Load != "a" || p.Low < 0.05 || p.Low > p.More || p.More > p.High || p.High > 0.11 || p.Low > 0.08 || p.High < 0.08 {
		t.Errorf("%v", p)
	}
	var page bytes.Buffer
	if err := (&Report{Results: []*Result{r}}).Markdown(&page, false); err != nil || !strings.Contains(page.String(), p.String()) {
		t.Errorf("%v\n%s", err, page.String())
	}
	if r.Scenario.Interleaved = false; r.Pairs() != nil {
		t.Error("pairs that were not neighbours")
	}
}

// TestInterval: the ranks are those of tables of the sign test.
func TestInterval(t *testing.T) {
	for n, rank := range map[int]int{6: 1, 8: 1, 9: 2, 12: 3, 20: 6, 30: 10, 40: 14} {
		values := make([]float64, n)
		for i, v := range rand.Perm(n) {
			values[i] = float64(v + 1)
		}
		if low, high := interval(values); low != float64(rank) || high != float64(n+1-rank) {
			t.Errorf("%d values: %v to %v, want rank %d from either end", n, low, high, rank)
		}
	}
}

// TestInterleaved: two processes live side by side, their rounds take turns, and each is judged by its own topic. On a
// machine under load a round may see no event, and has no pair.
func TestInterleaved(t *testing.T) {
	s, err := Parse([]byte(`
name: turns
kafka: {embedded: true, partitions: 2}
interleaved: true
warmRounds: 1
rounds: 8
warmUp: 50ms
duration: 400ms
targets: [{name: first}, {name: second, args: [--codec, none]}]
loads: [{profile: "1", conns: 4}]
`))
	if err != nil {
		t.Fatal(err)
	}
	result := runs(t, s)
	order := ""
	for _, w := range result.Rows {
		order += w.Target[:1]
	}
	if order != "fssffssffssffssf" || len(result.Problems()) > 0 {
		t.Errorf("rows %s, problems %v", order, result.Problems())
	}
	list := result.Pairs()
	if len(list) != 1 || list[0].N < leastPairs || list[0].Target != "second" {
		t.Fatalf("%v", list)
	}
	// The second target does not compress. Both have the same events in the same batches.
	if p := list[0]; p.Raw[0] < 1 || p.Wire[0] < 0.99*p.Raw[0] || p.Wire[1] > 0.9*p.Raw[1] || !strings.Contains(p.String(), "bytes of a batch") {
		t.Errorf("%v", p)
	}
}
