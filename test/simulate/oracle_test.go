package simulate

import (
	"fmt"
	"testing"

	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// keyThat finds a key that moves, or stays where it is, whenever one of 4 partitions goes, and one of the 3 that are left.
func keyThat(moves bool) string {
	for i := 0; ; i++ {
		k := fmt.Sprint("k", i)
		at := func(n int) int { return recordbatch.Partition([]byte(k), n) }
		if (at(4) != at(3)) == moves && (at(3) != at(2)) == moves {
			return k
		}
	}
}

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
		{"fewer partitions between them, and the first one follows the key", 0, 1, 0, 0, 0, true},
		{"fewer partitions again, and the first one follows the key", 0, 0, 2, 0, 0, false},
		{"fewer partitions after each, and the first one follows the key", 0, 1, 1, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOracle(kafka.SettleOnDisk, true)
			n := 4
			o.finds(mainTopic, n)
			shrink := func(times int) {
				for range times {
					n--
					o.shrinks(mainTopic, n)
				}
			}
			shrink(c.before)
			first := o.add(mainTopic, keyThat(true), 0, 0, false)
			shrink(c.between)
			second := o.add(mainTopic, keyThat(true), 1, 0, false)
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
		first := o.add(mainTopic, keyThat(true), 0, 0, false)
		o.begins(1, 0)
		o.finds(mainTopic, c.then)
		second := o.add(mainTopic, keyThat(true), 1, 1, false)
		l := log{"cluster-0", mainTopic, 0}
		o.arrive(second, l, 0, false)
		o.arrive(first, l, 1, false)
		if bad := o.bad != ""; bad != c.bad {
			t.Errorf("%d partitions are found: a violation %v, want %v: %s", c.then, bad, c.bad, o.bad)
		}
	}
}

// TestTheOrderOfAKeyThatStays: a key that has the same partition by all counts keeps its order, however many others go.
func TestTheOrderOfAKeyThatStays(t *testing.T) {
	for between := range 3 {
		o := newOracle(kafka.SettleOnDisk, true)
		o.finds(mainTopic, 4)
		first := o.add(mainTopic, keyThat(false), 0, 0, false)
		var second *event
		for i := range 3 {
			if i == between {
				second = o.add(mainTopic, keyThat(false), 1, 0, false)
			}
			if i < 2 {
				o.shrinks(mainTopic, 3-i)
			}
		}
		l := log{"cluster-0", mainTopic, 0}
		o.arrive(second, l, 0, false)
		o.arrive(first, l, 1, false)
		if o.bad == "" {
			t.Errorf("%d times before the second event: no violation", between)
		}
	}
}

// TestCopiesInTopicsThatAreMadeAnew: an event that one process delivers to a topic, and the next one to another topic of that
// name, is delivered twice by the ledger. No more than that.
func TestCopiesInTopicsThatAreMadeAnew(t *testing.T) {
	for delivered, bad := range []bool{false, false, false, true} {
		o := newOracle(kafka.SettleOnDisk, true)
		e := o.add(mainTopic, "", 0, 0, false)
		o.arrive(e, log{"cluster-0", mainTopic, 0}, 0, false)
		o.arrive(e, log{"cluster-0", mainTopic, 1}, 0, false)
		w := &world{oracle: o, delivered: int64(delivered)}
		if w.judge(); (o.bad != "") != bad {
			t.Errorf("%d delivered, 2 copies: %q", delivered, o.bad)
		}
	}
}

// TestTheOrderBesideASpoolThatIsOpenedLate: partitions were added, and the spool of an earlier process was not open when they were
// taken into use. That excuses a key that moves, among events of that process.
func TestTheOrderBesideASpoolThatIsOpenedLate(t *testing.T) {
	for _, c := range []struct {
		late, moves bool
		life        int // of the process that runs when they arrive
		bad         bool
	}{{true, true, 1, false}, {false, true, 1, true}, {true, false, 1, true}, {true, true, 0, true}} {
		o := newOracle(kafka.SettleOnDisk, true)
		o.late = c.late
		o.finds(mainTopic, 3)
		first, second := o.add(mainTopic, keyThat(c.moves), 0, 0, false), o.add(mainTopic, keyThat(c.moves), 1, 0, false)
		if c.life > 0 {
			o.begins(c.life, 0)
		}
		o.finds(mainTopic, 4)
		l := log{"cluster-0", mainTopic, 0}
		o.arrive(second, l, 0, false)
		o.arrive(first, l, 1, false)
		if bad := o.bad != ""; bad != c.bad {
			t.Errorf("%+v: a violation %v", c, bad)
		}
	}
}
