package load

import (
	"fmt"
	"math/rand/v2"
)

// EventBytes is the mean size of the events of a body, without the commas between them.
const EventBytes = 240

// An invocation produces these events in this order: what the platform reports and what the function
// logs. Its ten events have 10 × EventBytes bytes together.
const eventsPerInvocation = 10

// Widths of the digits that Payload.Mark writes.
const (
	idDigits  = 12
	seqDigits = 10
)

// markFields holds the digits.
const markFields = `"id":"000000000000","seq":"0000000000",`

// writer builds events from a seed.
type writer struct {
	rng    *rand.Rand
	marked bool
	// keyless log lines have no traceId.
	keyless bool
	newKey  func() (trace string, key int)

	trace  string // of the current invocation
	key    int    // the same as a number, for marked events
	step   int    // events of the current invocation so far
	budget int    // bytes of the current invocation that are not spent
}

// next appends one event to dst. begin says that it shall be the first of a new invocation.
func (w *writer) next(dst []byte, begin bool) []byte {
	if begin || w.trace == "" || w.step == eventsPerInvocation {
		w.step, w.budget = 0, eventsPerInvocation*EventBytes
		w.trace, w.key = w.newKey()
	}
	start := len(dst)
	switch w.step {
	case 0:
		dst = w.platform(dst, "platform.start", "")
	case 1:
		dst = w.platform(dst, "platform.RuntimeDone", `,"status":"success"`)
	case 2:
		dst = w.platform(dst, "platform.report", w.report())
	default:
		left := eventsPerInvocation - w.step
		dst = w.log(dst, w.budget/left)
	}
	w.step++
	w.budget -= len(dst) - start
	return dst
}

func (w *writer) marks() string {
	if w.marked {
		return markFields
	}
	return ""
}

func (w *writer) time() string {
	return fmt.Sprintf("2026-03-0%dT%02d:%02d:%02d.%03dZ", 1+w.rng.IntN(9), w.rng.IntN(24), w.rng.IntN(60), w.rng.IntN(60), w.rng.IntN(1000))
}

func (w *writer) platform(dst []byte, name, more string) []byte {
	return fmt.Appendf(dst, `{"name":%q,"startTime":%q,%s"traceId":%q%s}`, name, w.time(), w.marks(), w.trace, more)
}

func (w *writer) report() string {
	return fmt.Sprintf(`,"endTime":%q,"status":"success","metrics":{"durationMs":%.2f,"billingDurationMS":%d,"memoryUsed":%.1f,"memorySize":128,"podName":"pool22-300-128-fusion-%08x-%05x"}`,
		w.time(), w.rng.Float64()*500, w.rng.IntN(500), 20+w.rng.Float64()*100, w.rng.Uint32(), w.rng.IntN(1<<20))
}

// log appends a line of the function's log, as an event of size bytes.
func (w *writer) log(dst []byte, size int) []byte {
	start := len(dst)
	trace := ""
	if !w.keyless {
		trace = `"traceId":"` + w.trace + `",`
	}
	dst = fmt.Appendf(dst, `{"name":"function","startTime":%q,%s%s"logs":"[Function] %s request=%016x path=/orders/%d status=%d`,
		w.time(), w.marks(), trace, levels[w.rng.IntN(len(levels))], w.rng.Uint64(), w.rng.IntN(100000), statuses[w.rng.IntN(len(statuses))])
	for room := size - (len(dst) - start) - len(`"}`); room > 0; {
		word := words[w.rng.IntN(len(words))]
		if len(word) > room {
			word = "................"[:room] // half an escape or half a rune would spoil the JSON
		}
		dst = append(dst, word...)
		room -= len(word)
	}
	return append(dst, `"}`...)
}

var (
	levels   = [...]string{"INFO", "INFO", "INFO", "WARN", "ERROR"}
	statuses = [...]int{200, 200, 201, 404, 500}
	words    = [...]string{" connection", " to", " upstream", " took", " longer", " than", " expected", " retrying", " \\\"order\\\"", " accepted",
		" caf\u00e9", " cache", " miss", " user=42", " done", " after", " 17ms", " queue", " depth", " 3"}
)
