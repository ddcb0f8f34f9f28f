// Package ownlog is the log of a process whose log comes back to it.
//
// FunctionGraph collects what extensions print and posts it to the telemetry extension as events of the
// kind extension. So a line may cause a delivery, and a delivery that fails may cause a line. Three
// things keep that from going round:
//
//   - every line begins with a marker (in JSON as the value of "from"), unguessable and new in each process ([Log.Own] recognises it), and
//     events that hold nothing but such lines are left out of the delivery, counted as ownLines;
//   - lines are limited: a burst, then a few a minute; what is kept back is counted and told once there is
//     room ([Log.Write]);
//   - everybody logs changes of state only.
//
// The limit holds even when own lines are delivered on request, and when two processes with this program
// hear each other.
package ownlog

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// burst has room for a start, a fault in every part, and a shutdown.
	burst = 30
	// refill is the pause between lines once the burst is used up: six a minute.
	refill = 10 * time.Second
)

// Log is a writer of whole lines, one per Write, as slog's handlers make them. It is safe for concurrent
// use and never fails: a log that cannot be written is no reason to do anything else.
type Log struct {
	w      io.Writer
	json   bool
	marker []byte // of this process
	head   []byte // what each line begins with; the marker is in it
	before []byte // stands before head: the platform's prefix, or nothing
	now    func() time.Time

	mu         sync.Mutex
	tokens     int
	refilled   time.Time
	suppressed int64
	line       []byte
}

// New returns a log on w, of lines of text or, with json, of one JSON object each. With marked each begins with
// [Extension], which the platform's reference wants before lines that are to be collected. now is for tests; nil:
// time.Now.
func New(w io.Writer, json, marked bool, now func() time.Time) *Log {
	if now == nil {
		now = time.Now
	}
	marker := "ingest[" + rand.Text()[:12] + "]"
	head := marker + " "
	if json {
		head = `{"from":"` + marker + `",`
	}
	l := &Log{w: w, json: json, marker: []byte(marker), head: []byte(head), now: now, tokens: burst, refilled: now()}
	if marked {
		l.before = prefix
	}
	return l
}

// Write puts the marker before p, or counts p as suppressed.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if n := int(now.Sub(l.refilled) / refill); n > 0 {
		l.tokens = min(burst, l.tokens+n)
		l.refilled = l.refilled.Add(time.Duration(n) * refill)
	} else if n < 0 {
		l.refilled = now // the clock was set back
	}
	if l.tokens == 0 {
		l.suppressed++
		return len(p), nil
	}
	l.tokens--
	l.tell()
	l.put(p)
	return len(p), nil
}

// Close tells what was suppressed and not yet told. The log can still be used.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell()
}

// tell writes how many lines are missing before this one.
func (l *Log) tell() {
	if l.suppressed > 0 {
		form := "%d lines suppressed\n"
		if l.json {
			form = `{"level":"WARN","msg":"lines suppressed","lines":%d}` + "\n"
		}
		l.put(fmt.Appendf(nil, form, l.suppressed))
		l.suppressed = 0
	}
}

// put writes a line with the head before it, which takes the place of the bracket of a JSON object.
func (l *Log) put(p []byte) {
	if l.json {
		p = bytes.TrimPrefix(p, []byte("{"))
	}
	l.line = append(append(append(l.line[:0], l.before...), l.head...), p...)
	_, _ = l.w.Write(l.line)
}

// MayHold is a quick look at logs as they stand in JSON: false says that no line in them is ours. The
// marker has no byte that JSON escapes.
func (l *Log) MayHold(raw []byte) bool { return bytes.Contains(raw, l.marker) }

// Own reports whether logs, unescaped, hold nothing but lines of this process. Each may have the
// platform's [Extension] before it. One line of another program makes it false: nothing of theirs is left out.
func (l *Log) Own(logs []byte) bool {
	own := false
	for line := range bytes.Lines(logs) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		for marked := true; marked; { // by the platform, or by a log that marks its lines itself, or by both
			line, marked = bytes.CutPrefix(line, prefix)
			line = bytes.TrimLeft(line, " ")
		}
		if !bytes.HasPrefix(line, l.head) {
			return false
		}
		own = true
	}
	return own
}

var prefix = []byte("[Extension]")
