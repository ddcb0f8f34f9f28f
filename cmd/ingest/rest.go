package main

import (
	"runtime/debug"
	"time"
)

// settleAfter is when a process that has started is at rest: Kafka is known, and what ran once will not run
// again.
const settleAfter = 5 * time.Second

// giveBack gives the memory of the start back to the system, once: freed heap, and the pages of the
// executable that only the start needed. Those that are needed later come back from the page cache.
func giveBack() {
	debug.FreeOSMemory()
	dropText()
}
