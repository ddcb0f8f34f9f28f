package ring_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"functiongraph-ingest/pkg/ring"
)

// A gate and a ring together: credits are reserved before a body is read and released when it is
// done with, so both its bytes and its place in the ring are bounded from the first byte on.
func Example() {
	bodies := ring.New[[]byte](64)
	gate := ring.NewGate(ring.GateConfig{
		Items: bodies.Cap(), // no more than the slots: TryPush never finds the ring full
		Bytes: 1 << 20,
		Grace: 50 * time.Millisecond,
	})
	ctx := context.Background() // of the service, not of a request

	// A consumer takes what is there, in batches, and gives the credits back when it is done.
	var consumer sync.WaitGroup
	total := 0
	consumer.Go(func() {
		for batch := make([][]byte, 16); ; {
			n, err := bodies.PopBatch(batch)
			if err != nil {
				return // ring.ErrClosed: everything that was pushed has been popped
			}
			var bytes int64
			for i, b := range batch[:n] {
				total++
				bytes += int64(cap(b))
				batch[i] = nil
			}
			gate.Release(n, bytes)
		}
	})

	// Producers: reserve, read, push.
	var producers sync.WaitGroup
	for range 8 {
		producers.Go(func() {
			for range 100 {
				const size = 4096
				if err := gate.Reserve(ctx, size, time.Second); err != nil {
					continue // ErrFull: answer 503 and count it. Nothing was read yet
				}
				body := make([]byte, size) // read it here
				if err := bodies.TryPush(body); err != nil {
					gate.Release(1, size) // ErrClosed: not taken, so the credits are still ours
				}
			}
		})
	}

	// Shut down front to back: no more producers, then the end of the ring, then idle.
	producers.Wait()
	gate.Close()
	bodies.Close()
	consumer.Wait()
	if err := gate.WaitIdle(ctx); err != nil {
		fmt.Println(err)
	}
	items, bytes := gate.InUse()
	fmt.Println(total, "bodies,", items, "items and", bytes, "bytes in use")
	// Output: 800 bodies, 0 items and 0 bytes in use
}

// A ring without a gate: Push waits while it is full.
func ExampleRing_Push() {
	r := ring.New[int](16)
	go func() {
		defer r.Close()
		for i := range 1000 {
			if r.Push(context.Background(), i) != nil {
				return
			}
		}
	}()
	sum, batch := 0, make([]int, 8)
	for {
		n, err := r.PopBatch(batch)
		if err != nil {
			break
		}
		for _, v := range batch[:n] {
			sum += v
		}
	}
	fmt.Println(sum)
	// Output: 499500
}
