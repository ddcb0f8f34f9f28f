package kafka

import "testing"

// Each batch that was sent took a queue of its own.
func TestAQueueOfOneUsesItsPlaceAgain(t *testing.T) {
	b := &batch{}
	var queue []*batch
	for _, n := range []int{1, 2, keptQueue, keptQueue + 1, 1000} {
		for range n {
			queue = append(queue, b)
		}
		for i := range n {
			if pop(&queue) != b || len(queue) != n-1-i {
				t.Fatalf("%d of %d are left after %d", len(queue), n, i+1)
			}
		}
		if cap(queue) > keptQueue {
			t.Errorf("%d places are kept behind a queue of %d", cap(queue), n)
		}
	}
	queue = append(queue, b)
	pop(&queue)
	if n := testing.AllocsPerRun(100, func() { queue = append(queue, b); pop(&queue) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
