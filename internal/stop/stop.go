// Package stop is the arithmetic of the end of a process: which part has how much of --shutdown-timeout. All times
// run from the first step of the stop.
//
//	0                1/4                 ~6/10             9/10         1
//	├─ bodies ────────┤                    │                 │            │
//	├─ sink: Kafka ────────────────────────┼─ disk (1/3) ────┤            │
//	├─ answers, connections ──────────────────────────────────────────────┤
//
// Nobody waits for a time to be over: a part that has nothing to do any more ends at once, and so does the wait for a
// Kafka that was never reached when the spool can take everything.
package stop

import "time"

// Budget is what each part has.
type Budget struct {
	Bodies time.Duration // bodies that are still being read: a client that never ends one shall not take the sink's time
	Sink   time.Duration // everything reaches Kafka or the disk; what does not is dropped
	Disk   time.Duration // the last part of Sink, which is the disk's: what Kafka has not taken goes there
	All    time.Duration // answers are out and connections closed
}

// Hurry is what accepted bodies have to get to the disk when a second signal says that nobody shall be waited for.
const Hurry = 500 * time.Millisecond

// Within splits --shutdown-timeout.
func Within(all time.Duration) Budget {
	return Budget{Bodies: all / 4, Sink: all * 9 / 10, Disk: all / 3, All: all}
}

// After is what is left when late deliveries took a part of the time first: at least half of it.
func (b Budget) After(late time.Duration) Budget { return Within(b.All - min(late, b.All/2)) }

// Replay splits --timeout of ingest spool replay, not 0, into the time for sending and that for the end, which has at
// most --shutdown-timeout: both together are never more than the timeout.
func Replay(timeout, shutdown time.Duration) (send, end time.Duration) {
	end = min(shutdown, timeout/4)
	return timeout - end, end
}
