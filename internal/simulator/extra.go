package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// ExtensionMark stands in front of the lines of an extension's log.
const ExtensionMark = "[Extension]"

// Finish makes the next delivery of the invocations that run, and starts none. It is false, and d is empty,
// when none is left: then the instance may be frozen.
func (g *Generator) Finish(d *Delivery) bool {
	d.reset()
	g.keepUp()
	left := len(g.open) + len(g.late)
	if left == 0 {
		return false
	}
	d.NDJSON = false
	d.Body = append(d.Body, '[')
	for n := 1 + g.rng.IntN(min(2*left, g.cfg.MaxEvents)); n > 0 && len(g.open)+len(g.late) > 0; n-- {
		g.good(d)
	}
	d.Body = append(d.Body, ']')
	return true
}

// Open is the number of invocations that run.
func (g *Generator) Open() int { return len(g.open) }

// Logs makes a delivery out of lines that an extension really printed: one extension event a line, with the mark of
// such lines, [Extension], at its front as the reference prints them.
func (g *Generator) Logs(d *Delivery, lines []string) {
	d.reset()
	d.NDJSON = false
	d.Body = append(d.Body, '[')
	for _, line := range lines {
		g.log(d, Extension, ExtensionMark+strings.TrimPrefix(line, ExtensionMark))
		d.Events[len(d.Events)-1].Printed = true
	}
	d.Body = append(d.Body, ']')
}

// Large makes a delivery of one event whose log is at least size bytes long.
func (g *Generator) Large(d *Delivery, size int) {
	d.reset()
	d.NDJSON = false
	d.Body = append(d.Body, '[')
	g.log(d, Function, "[Function]"+string(bytes.Repeat([]byte("a dump of a request, 32 bytes.. "), size/32+1)))
	d.Body = append(d.Body, ']')
}

// log appends an event of a log line, which may be any text.
func (g *Generator) log(d *Delivery, k Kind, line string) {
	text, _ := json.Marshal(line) // strings can be marshalled, and bytes that are no UTF-8 are replaced
	e := Event{ID: makeID(g.cfg.Stream, g.seq), Kind: k}
	g.seq++
	d.begin(&e)
	d.Body = fmt.Appendf(d.Body, `{"name":"%s","eventId":"%s","startTime":"%s","logs":%s}`, k, e.ID, g.now.Format(timeLayout), text)
	d.end(&e)
}
