package simulator

import (
	"bytes"
	"fmt"
)

// Breakage is a way in which a body holds something that is no event. Each costs exactly one region, which
// becomes one dead letter; the good events around it are not touched.
type Breakage uint8

// The breakages.
const (
	Intact          Breakage = iota
	TrailingComma            // a comma before the closing brace, as one sample of the reference has it
	UnquotedPodName          // as another one has it
	InvalidUTF8              // bytes in a string that are no UTF-8
	TruncatedBody            // the body ends in the middle of its last event
	NotJSON                  // the whole body is a text: what a proxy says when things go wrong
	numBreakages
)

// String is the breakage in words.
func (b Breakage) String() string {
	switch b {
	case TrailingComma:
		return "trailing comma"
	case UnquotedPodName:
		return "unquoted podName"
	case InvalidUTF8:
		return "invalid UTF-8"
	case TruncatedBody:
		return "truncated body"
	case NotJSON:
		return "not JSON"
	}
	return "intact"
}

// broken appends an event that is broken. It belongs to an invocation of its own, so no other event's place
// in the order of its key depends on it.
func (g *Generator) broken(d *Delivery, b Breakage) {
	e := Event{Key: g.trace(), Broken: b}
	switch b {
	case TrailingComma:
		e.Kind = InitRuntimeDone
	case UnquotedPodName:
		e.Kind, e.Slip = InitReport, ReportMetrics
	case InvalidUTF8:
		e.Kind = Function
	case TruncatedBody:
		e.Kind = Report // has no bracket: a body that happens to end with one would look closed
	}
	d.begin(&e)
	d.Body = g.event(d.Body, &e)
	e.Key = ""
	switch last := len(d.Body) - 1; b {
	case TrailingComma:
		d.Body = append(d.Body[:last], ",}"...)
	case InvalidUTF8:
		d.Body = append(d.Body[:last-1], " caf\xe9 \xff\"}"...) // Latin-1, as an old library prints it
	case TruncatedBody:
		whole := d.Body[e.start:]
		first := bytes.Index(whole, []byte(idMark)) + len(idMark) + idDigits
		d.Body = d.Body[:e.start+first+g.rng.IntN(len(whole)-first)]
		d.Body = bytes.TrimRight(d.Body, ",") // a comma at the end would be a separator, not a part
	}
	d.end(&e)
}

// notJSON makes the whole body a text.
func (g *Generator) notJSON(d *Delivery) {
	e := Event{ID: makeID(g.cfg.Stream, g.seq), Kind: Function, Broken: NotJSON}
	g.seq++
	texts := []string{
		"upstream connect error or disconnect/reset before headers. request %s\n",
		"<html><head><title>502 Bad Gateway</title></head><body>%s</body></html>",
		"%s level=error msg=\"cannot encode telemetry\"",
	}
	d.begin(&e)
	d.Body = fmt.Appendf(d.Body, texts[g.rng.IntN(len(texts))], e.ID)
	d.end(&e)
	last := &d.Events[0]
	last.stop = len(bytes.TrimRight(d.Body, "\n"))
}
