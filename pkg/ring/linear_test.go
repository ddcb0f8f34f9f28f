package ring

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The operations of a history. All answers are part of it: "full" and "closed" must be true at one
// moment of the call, and so must "drained".
type opKind uint8

const (
	opPush opKind = iota
	opPop
	opClose
)

type operation struct {
	kind opKind
	v    rune // pushed
	max  int  // pop: room in the destination
}

type answer struct {
	err error  // context.Canceled from a pop: nothing available
	got string // popped, one rune per item
}

// state of the sequential queue: one rune per item, oldest first.
type state struct {
	closed bool
	items  string
}

// boundedFIFO is the specification.
//
// An empty answer of the ring proves nothing (strictEmpty false): the first item may be claimed and
// not yet published while a second producer's push has already returned. A batch is one atomic step,
// except for the channel, whose batch is cut into pops by the recorder.
func boundedFIFO(start string, capacity int, strictEmpty bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{items: start} },
		Step: func(st, in, out any) (bool, any) {
			s, o, a := st.(state), in.(operation), out.(answer)
			items := []rune(s.items)
			switch o.kind {
			case opClose:
				return true, state{closed: true, items: s.items}
			case opPush:
				switch a.err {
				case nil:
					return !s.closed && len(items) < capacity, state{s.closed, s.items + string(o.v)}
				case ErrFull:
					return !s.closed && len(items) == capacity, s
				case ErrClosed:
					return s.closed, s
				}
			case opPop:
				switch a.err {
				case nil:
					got := []rune(a.got)
					ok := len(got) <= len(items) && string(items[:len(got)]) == a.got
					if !ok {
						return false, s
					}
					return true, state{s.closed, string(items[len(got):])}
				case ErrClosed:
					return s.closed && len(items) == 0, s
				case context.Canceled:
					return !strictEmpty || len(items) == 0, s
				}
			}
			return false, s
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v -> %v", in, out) },
	}
}

func TestLinearizable(t *testing.T) {
	eachQueue(t, func(t *testing.T, c contender[rune]) {
		histories := 1500
		if testing.Short() || raceEnabled {
			histories = 300
		}
		relaxed := 0
		for i := range histories {
			q := c.make(16)
			// Begin empty, nearly empty, nearly full or full: the edges are where it can go wrong.
			start := ""
			for len(start) < []int{0, 1, q.Cap() - 1, q.Cap()}[i%4] {
				v := rune('A' + len(start))
				start += string(v)
				if err := q.TryPush(v); err != nil {
					t.Fatal(err)
				}
			}
			h := record(q, i%8 >= 4, c.oneByOne)
			check := func(strict bool) porcupine.CheckResult {
				return porcupine.CheckOperationsTimeout(boundedFIFO(start, q.Cap(), strict), h, 10*time.Second)
			}
			if r := check(c.strictEmpty); r == porcupine.Illegal {
				t.Fatalf("history %d from %q is not linearizable: %v", i, start, h)
			}
			if !c.strictEmpty && check(true) == porcupine.Illegal {
				relaxed++
			}
		}
		t.Logf("%d histories; %d only because an empty answer proves nothing", histories, relaxed)
	})
}

// record runs four clients with six operations each.
func record(q queue[rune], closes, oneByOne bool) []porcupine.Operation {
	const clients, each = 4, 6
	var (
		wg      sync.WaitGroup
		next    atomic.Int32
		base    = time.Now()
		none    = ended()
		history = make([][]porcupine.Operation, clients)
		begin   = make(chan struct{})
	)
	for c := range clients {
		wg.Go(func() {
			dst := make([]rune, 3)
			<-begin
			for k := range each {
				if rand.IntN(3) == 0 {
					runtime.Gosched()
				}
				o := operation{kind: opPush, v: 'a' + next.Add(1)}
				switch {
				case closes && c == 0 && k == each/2:
					o = operation{kind: opClose}
				case (c+k)%2 == 0:
					o = operation{kind: opPop, max: 1 + rand.IntN(3)}
				}
				var a answer
				call := time.Since(base)
				switch o.kind {
				case opPush:
					a.err = q.TryPush(o.v)
				case opPop:
					var n int
					n, a.err = q.PopBatchContext(none, dst[:o.max])
					a.got = string(dst[:n])
				case opClose:
					q.Close()
				}
				op := porcupine.Operation{ClientId: c, Input: o, Output: a, Call: int64(call), Return: int64(time.Since(base))}
				history[c] = append(history[c], split(op, oneByOne)...)
			}
		})
	}
	close(begin)
	wg.Wait()
	var all []porcupine.Operation
	for _, h := range history {
		all = append(all, h...)
	}
	return all
}

// split makes a batch into pops of one item that happened in the same interval.
func split(op porcupine.Operation, oneByOne bool) []porcupine.Operation {
	got := op.Output.(answer).got
	if !oneByOne || len(got) < 2 {
		return []porcupine.Operation{op}
	}
	var ops []porcupine.Operation
	for _, v := range got {
		op.Output = answer{got: string(v)}
		ops = append(ops, op)
	}
	return ops
}
