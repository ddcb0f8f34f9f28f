package ring

import (
	"context"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue is what every test of the contract is written against. The ring has to pass, and so have two
// versions that are right by inspection: tests that a dumb version fails would test the clever one's
// accidents.
type queue[T any] interface {
	TryPush(v T) error
	Push(ctx context.Context, v T) error
	PopBatch(dst []T) (int, error)
	PopBatchContext(ctx context.Context, dst []T) (int, error)
	TryPopBatch(dst []T) int
	Close()
	Len() int
	Cap() int
}

type contender[T any] struct {
	name string
	make func(items int) queue[T]

	strictEmpty bool // "nothing available" proves that the queue was empty
	oneByOne    bool // a batch is popped item by item, others may get items in between
}

// contenders are the three implementations.
func contenders[T any]() []contender[T] {
	return []contender[T]{
		{name: "ring", make: func(n int) queue[T] { return New[T](n) }},
		{name: "chan", make: func(n int) queue[T] { return newChanQueue[T](n) }, strictEmpty: true, oneByOne: true},
		{name: "mutex", make: func(n int) queue[T] { return newMutexQueue[T](n) }, strictEmpty: true},
	}
}

// wrapStarts are positions shortly before a width at which careless arithmetic breaks.
var wrapStarts = map[string]uint64{"2^31": 1<<31 - 9, "2^32": 1<<32 - 9, "2^62": 1<<62 - 9}

// allContenders adds rings whose positions are about to wrap.
func allContenders[T any]() []contender[T] {
	all := contenders[T]()
	for name, start := range wrapStarts {
		all = append(all, contender[T]{
			name: "ring below " + name,
			make: func(n int) queue[T] { return newAt[T](n, start) },
		})
	}
	return all
}

// eachQueue runs f once for every contender.
func eachQueue[T any](t *testing.T, f func(t *testing.T, c contender[T])) {
	for _, c := range allContenders[T]() {
		t.Run(c.name, func(t *testing.T) { f(t, c) })
	}
}

// item tells who pushed it and as which of its pushes, counted from 1.
type item struct{ producer, n int32 }

// ended is a context that has ended: PopBatchContext with it announces, looks and leaves.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
