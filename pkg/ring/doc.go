// Package ring is a bounded lock-free queue and the gate in front of it.
//
// [Ring] is a FIFO queue of fixed size for many producers and many consumers, with batch pop, parking
// consumers and an exact close. [Gate] bounds what is in flight, in items and bytes, with waiters
// served strictly in order of arrival. They are separate types made to be used together.
//
// # What it is for, and what not
//
// It buys bounded memory, FIFO admission, no CPU while idle, no allocations, nothing lost at close,
// and a shorter hand-off tail than a channel where many handlers share few cores: a channel binds an
// item to one parked goroutine, which then queues for a processor, while here the one that runs first
// takes what is there. It does not buy throughput. A mutex around a slice with batch pop is as fast or
// faster on few cores (it stands in the benchmarks of this package), and with a few microseconds of
// work per item no choice of queue can be seen in the CPU.
//
// # Contract
//
//   - Every item whose push returned nil is popped exactly once, also across [Ring.Close]; an item
//     whose push returned an error was not taken.
//   - Items are popped in the order in which their pushes claimed a position; so items of one producer
//     in its order, and an item whose push returned before another's began, before it.
//   - [ErrFull] and [ErrClosed] are exact: true at one moment of the call. "Nothing available" is not
//     (an earlier producer may be in the middle of its push while a later one has returned), and so
//     proves nothing; parking takes care of it.
//   - PopBatch parks. There is no spin, no yield and no timer while it waits. Once the ring is closed
//     and all items are popped every consumer gets [ErrClosed].
//   - No consumer is parked while there is an item it could take, even if all others never return
//     from their batch; the same for producers in [Ring.Push] and room.
//   - No operation allocates. A popped slot is cleared.
//   - It is not lock-free in the strict sense: between claim and publication of a slot lie two
//     instructions, and a goroutine that is preempted there delays (never loses) what stands behind. Consumers
//     park meanwhile, and the late producer wakes them.
//
// # With a gate
//
// The credits of an item live longer than its place in the ring: they are taken before the body is
// read and given back when it is done with, so that no byte is in memory without credit.
//
//	Reserve → read the body → TryPush → PopBatch → work → Release
//	   (TryGrow or Grow while reading, if its length is not known)
//
// With a gate of at most Cap items in front, and credits released only after the pop that returned the
// item, TryPush never answers ErrFull: there is one place that waits. Who holds a reservation and does
// not push (the read failed, the ring was closed) releases it. Charge the capacity of a buffer, not the
// length of what is in it. Cap one body at a fraction of the budget: a large one at the head of the
// queue holds back small ones behind it, by design.
//
// To shut down: stop the producers, Close the gate and the ring, let consumers run until ErrClosed,
// then [Gate.WaitIdle].
//
// # Words
//
// Cells as in Vyukov's bounded queue, {seq, val}; positions count up from 0 in 63 bits and never wrap
// within the life of a machine (at one push per nanosecond: 292 years). For the cell of position p:
//
//	seq == p          free, for the push of p
//	seq == p+1        holds the item of p
//	seq == p+Cap      free, for the push of p+Cap: one lap on
//
//	tail   closed (1) | next position to push (63)
//	head   next position to pop
//	gate   closed (1) | queued (1) | idle (1) | items (20) | bytes (41)
//
// tail, head, the two parking words, the gate's word and what is only read lie 128 bytes apart.
// Neighbouring positions lie four cells apart, so that two producers do not share a line.
//
// # Ownership
//
// A cell's val is a plain variable. It always has one owner:
//
//   - seq == p: the producer whose CAS moved tail from p to p+1, until it stores seq = p+1.
//   - seq == p+1: the consumer whose CAS moved head past p, until it stores seq = p+Cap.
//
// One CAS on head takes a whole run of published cells. They cannot change between the look and the
// CAS: only the owner of head may free them, and head has not moved.
//
// A waiter of the gate belongs to its goroutine, except for its links and its outcome, which belong
// to the gate's mutex while it is queued. Credits are the waiter's from the moment its outcome says
// granted, whether its goroutine knows it or not; so a grant that meets a deadline is a success.
//
// # Memory order
//
// Go's sync/atomic operations are sequentially consistent, and one that observes another
// happens after it. Everything below uses only that; none of the steps named may become a plain access.
//
//  1. val is written → seq.Store(p+1) → a consumer's seq.Load sees it → val is read.
//  2. val is read and cleared → seq.Store(p+Cap) → the next producer's seq.Load sees it → val is
//     written. The CAS on tail and head only decide who.
//  3. Full: tail never runs more than Cap ahead of head, because a claim needs a cell that a consumer
//     has freed. So when a producer loads tail = t and then head = t-Cap, head stood there already when
//     it loaded tail: full, and open, at that moment. No second look is needed.
//  4. Parking is Dekker's pattern: (publish; load waiters) against (add to waiters; load seq). In the
//     total order one of the two loads comes after the other side's write.
//  5. One token stands for many changes. A notifier that finds a token lying there has published
//     before it looked; the goroutine that takes that token looks after taking it, and sees the change. If it
//     leaves something behind, an item or the news of Close, it sends on (passOn). Who took no token
//     owes nothing: it only made what is to be found less.
//  6. Close and claim meet in one word: a claim's CAS fails once the bit is set, so the final tail is
//     known, and a consumer leaves only at head == final tail: it waits for what is claimed and not
//     yet published.
//  7. The gate: reasons to do more and credits are one word. A release either sees the flag in the
//     value its addition returned, or came before the flag was raised, and then its credits are in the
//     value that raising the flag returned. Hence: first the flag, then the look.
//
// # How it was checked
//
// model/*.pml are Promela models of ring, parking and gate; model/check.sh runs them, and with the
// argument bugs seeds each mistake they must find. The tests check linearizability (also of "full" and
// "closed"), close and drain, conservation, work conservation, wrap-around, layout, allocations, and in
// synctest bubbles deadlines and order; all but the tests of the insides also pass against a channel
// and a mutex. The build tag hook puts random yields into every window between two atomic steps:
//
//	go test -tags hook ./pkg/ring
//
// # What was tried
//
//   - A ready-made queue. None has parking, exact close and drain, and batch pop together, and that is
//     where the mistakes live. One fetch-and-add queue published by a store where its algorithm wants a
//     CAS, and lost the items of producers that were preempted in between.
//   - A closed flag beside tail: loses what is pushed between a consumer's last look and the flag.
//   - A throttled notifier (at most one wake-up under way, waiters counted down by the notifier): half
//     the CPU when saturated with two consumers, no gain with real work, slower with a thousand
//     producers, and it had a lost wake-up that stress tests did not find and the model did.
//   - A yield before parking: 40 % less CPU with four producers, 6 to 12 times more with a thousand.
//   - One ring per consumer: loses FIFO, strands items behind a busy consumer, and was slowest.
//   - A second look at tail before ErrFull: the model finds no error without it (see memory order, 3).
//   - Passing the wake-up on after every pop, with or without a token: the model finds no error with
//     token takers alone, and consumers that run anyway no longer wake others for nothing.
package ring
