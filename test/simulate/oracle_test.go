package simulate

import (
	"testing"

	"functiongraph-ingest/pkg/sink/kafka"
)

// TestTheOrderOfAKeyThatMoves: of two events of a key the second one arrives first. Fewer partitions excuse that where the
// key has moved between them, and nothing else.
func TestTheOrderOfAKeyThatMoves(t *testing.T) {
	for _, c := range []struct {
		name                   string
		before, between, since int   // how often the topic has got fewer partitions
		first, second          int32 // partitions
		bad                    bool
	}{
		{"one partition", 0, 0, 0, 1, 1, true},
		{"two partitions", 0, 0, 0, 1, 0, true},
		{"two partitions, which were fewer before", 1, 0, 0, 1, 0, true},
		{"fewer partitions, and the key stays", 0, 0, 1, 0, 0, true},
		{"fewer partitions, and the key moves before the second one has any", 0, 0, 1, 1, 0, false},
		{"fewer partitions, and the key moves before the second one comes", 0, 1, 0, 1, 0, false},
		{"fewer partitions again, and the first one follows the key", 0, 0, 2, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOracle(kafka.SettleOnDisk, true)
			shrink := func(n int) {
				for range n {
					o.shrinks(mainTopic, 1)
				}
			}
			shrink(c.before)
			first := o.add(mainTopic, "k", 0, 0, false)
			shrink(c.between)
			second := o.add(mainTopic, "k", 1, 0, false)
			shrink(c.since)
			l := log{"cluster-0", mainTopic, 0}
			o.arrive(second, l, c.second, false)
			o.arrive(first, l, c.first, false)
			if bad := o.bad != ""; bad != c.bad {
				t.Errorf("a violation: %v, want %v: %s", bad, c.bad, o.bad)
			}
		})
	}
}

// TestTheOrderOfAKeyThatMovesBetweenProcesses: the same where the process that finds fewer partitions is another one.
func TestTheOrderOfAKeyThatMovesBetweenProcesses(t *testing.T) {
	for _, c := range []struct {
		then int
		bad  bool
	}{{3, true}, {2, false}} {
		o := newOracle(kafka.SettleOnDisk, true)
		o.finds(mainTopic, 3)
		first := o.add(mainTopic, "k", 0, 0, false)
		o.begins(1, 0)
		o.finds(mainTopic, c.then)
		second := o.add(mainTopic, "k", 1, 1, false)
		l := log{"cluster-0", mainTopic, 0}
		o.arrive(second, l, 0, false)
		o.arrive(first, l, 1, false)
		if bad := o.bad != ""; bad != c.bad {
			t.Errorf("%d partitions are found: a violation %v, want %v: %s", c.then, bad, c.bad, o.bad)
		}
	}
}
