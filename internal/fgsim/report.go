package fgsim

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Report is what a run found. All times are in milliseconds, all sizes in bytes.
type Report struct {
	Scenario string `json:"scenario"`
	Limits   string `json:"limits"`

	RegisteredMs float64 `json:"registeredMs"` // from the start of the script to the answer; 0: never
	SubscribedMs float64 `json:"subscribedMs"` // likewise

	Invocations Invocations `json:"invocations"`
	Posts       Posts       `json:"posts"`
	Latency     Latency     `json:"latencyMs"` // of telemetry posts, slow ones not counted
	Printed     Printed     `json:"printed"`
	Freezes     int         `json:"freezes"`

	Process   Process       `json:"process"`
	Idle      *Idle         `json:"idle,omitempty"`
	Neighbour *Interference `json:"neighbour,omitempty"`
	Exit      Exit          `json:"exit"`

	Violations []Violation `json:"violations"`
	Notes      []string    `json:"notes"` // what could not be measured or done, and why
}

// Invocations are the invocation events.
type Invocations struct {
	Sent     int64            `json:"sent"`
	ByStatus map[string]int64 `json:"byStatus"` // "none": no answer
	Latency  Latency          `json:"latencyMs"`
}

// Posts are the telemetry posts.
type Posts struct {
	Bodies   int64            `json:"bodies"` // each attempt counts
	Bytes    int64            `json:"bytes"`
	ByStatus map[string]int64 `json:"byStatus"` // bodies; "none": no answer

	// Events = Acked + Lost + TooLarge + AfterStop.
	Events    int64 `json:"events"`
	Acked     int64 `json:"acked"`     // answered 200
	Lost      int64 `json:"lost"`      // never answered 200, though the process was not told to stop
	TooLarge  int64 `json:"tooLarge"`  // in oversize bodies that were answered 4xx
	AfterStop int64 `json:"afterStop"` // not answered 200 after SIGTERM or after the run was given up
	Echoed    int64 `json:"echoed"`    // of these, made of what the extension printed

	Resent     int64 `json:"resent"` // bodies
	Duplicates int64 `json:"duplicates"`
	Chunked    int64 `json:"chunked"`
	Slow       int64 `json:"slow"`
	Oversize   int64 `json:"oversize"`
}

// Latency is a distribution in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Printed is what the extension wrote to stdout and stderr.
type Printed struct {
	Lines   int64    `json:"lines"`
	Dropped int64    `json:"dropped"` // more than could be sent back
	Tail    []string `json:"tail"`
}

// Process is what the process group used until it was told to stop, and a single process until its end; its memory
// until then.
type Process struct {
	IdleRSS  int64   `json:"idleRSS"` // after the idle phase, or when it had subscribed
	PeakRSS  int64   `json:"peakRSS"`
	CPUMs    float64 `json:"cpuMs"`
	Switches int64   `json:"contextSwitches"`
	Threads  int     `json:"threads"`
}

// Idle is what the extension does while nothing happens.
type Idle struct {
	ForMs    float64 `json:"forMs"`
	CPUMs    float64 `json:"cpuMs"`
	Share    float64 `json:"cpuShare"` // of one core
	Switches int64   `json:"contextSwitches"`
}

// Interference is what the extension takes from a function that needs the core for itself.
type Interference struct {
	Alone   float64 `json:"alonePerSecond"` // the function's work, in pieces of about 1 ms
	Beside  float64 `json:"besidePerSecond"`
	Slower  float64 `json:"slower"` // share
	Windows int     `json:"windows"`
	Events  float64 `json:"eventsPerSecond"` // acked in the windows with telemetry
	Share   float64 `json:"cpuShare"`        // of the core, that the extension used in them

	AloneMs  Latency `json:"aloneMs"` // what a piece took
	BesideMs Latency `json:"besideMs"`
}

// Exit is the end.
type Exit struct {
	Code   int     `json:"code"` // 128 + number after a signal
	TookMs float64 `json:"tookMs"`
	Text   string  `json:"text"`
}

// OK reports whether there is neither a violation nor a lost event.
func (r *Report) OK() bool { return len(r.Violations) == 0 && r.Posts.Lost == 0 }

// WriteText prints the report for a human.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	p := &r.Posts
	row("scenario", "%s; limits: %s", r.Scenario, r.Limits)
	row("ready", "%s", r.ready())
	row("invocations", "%d sent: %s; answered in %s", r.Invocations.Sent, byStatus(r.Invocations.ByStatus), r.Invocations.Latency)
	row("posts", "%d bodies, %s: %s; answered in %s", p.Bodies, mib(p.Bytes), byStatus(p.ByStatus), r.Latency)
	row("events", "%d posted = %d acked + %d lost + %d too large + %d after SIGTERM", p.Events, p.Acked, p.Lost, p.TooLarge, p.AfterStop)
	row("platform", "%d resent, %d twice, %d chunked, %d slow, %d oversize; %d freezes", p.Resent, p.Duplicates, p.Chunked, p.Slow, p.Oversize, r.Freezes)
	row("printed", "%d lines, %d sent back, %d dropped", r.Printed.Lines, p.Echoed, r.Printed.Dropped)
	row("process", "RSS idle %s, peak %s; CPU %.1f ms; %d context switches; %d threads", mib(r.Process.IdleRSS), mib(r.Process.PeakRSS), r.Process.CPUMs, r.Process.Switches, r.Process.Threads)
	if i := r.Idle; i != nil {
		row("idle", "%.1f s: CPU %.3f ms (%.4f %% of a core), %d context switches", i.ForMs/1000, i.CPUMs, 100*i.Share, i.Switches)
	}
	if n := r.Neighbour; n != nil {
		row("neighbour", "%.2f %% slower while %.0f events/s flow (%.0f/s against %.0f/s of work, %d windows each)", 100*n.Slower, n.Events, n.Beside, n.Alone, n.Windows)
		row("", "extension %.2f %% of the core; a piece of work took %s, alone %s", 100*n.Share, n.BesideMs, n.AloneMs)
	}
	row("exit", "%s, %.1f ms after SIGTERM", r.Exit.Text, r.Exit.TookMs)
	for _, note := range r.Notes {
		row("note", "%s", note)
	}
	if !r.OK() && len(r.Printed.Tail) > 0 {
		row("it said", "%s", strings.Join(r.Printed.Tail, "\n             "))
	}
	for _, v := range r.Violations {
		row("VIOLATION", "%s (%d times): %s", v.Code, v.Count, v.Text)
	}
	if p.Lost > 0 {
		row("LOST", "%d events were never answered 200", p.Lost)
	}
	if r.OK() {
		row("verdict", "ok")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) ready() string {
	switch {
	case r.RegisteredMs == 0:
		return "never registered"
	case r.SubscribedMs == 0:
		return fmt.Sprintf("registered after %.1f ms, never subscribed", r.RegisteredMs)
	}
	return fmt.Sprintf("registered after %.1f ms, subscribed after %.1f ms", r.RegisteredMs, r.SubscribedMs)
}

// String is the distribution in words.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %.2f p90 %.2f p99 %.2f max %.2f ms", l.P50, l.P90, l.P99, l.Max)
}

func byStatus(counts map[string]int64) string {
	if len(counts) == 0 {
		return "none"
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		name := status
		if status == "none" {
			name = "no answer"
		}
		parts = append(parts, fmt.Sprintf("%s ×%d", name, counts[status]))
	}
	return strings.Join(parts, ", ")
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
