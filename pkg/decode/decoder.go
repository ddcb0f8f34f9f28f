package decode

import (
	"bytes"
	"math"
)

// Options say what a body may be. The zero value is strict, and takes an array or a lone object.
type Options struct {
	// Lenient lets pass what breaks no structure: raw control bytes, illegal escapes and invalid
	// UTF-8 inside strings. They reach the topic as they came.
	Lenient bool
	// NDJSON: one JSON object per line, or one array of them, instead of an array.
	NDJSON bool
}

const byteOrderMark = "\xef\xbb\xbf" // of UTF-8

// Notes count what is wrong with a body and has no bytes of its own to be a region. Nothing is lost
// by any of them.
type Notes struct {
	MissingCommas int  // between two elements
	ExtraCommas   int  // before the first element, after the last, or one too many between two
	Unclosed      bool // the array has no closing bracket
	ByteOrderMark bool // a UTF-8 byte order mark stands before the body
}

// Any reports whether there is anything to note.
func (n Notes) Any() bool { return n != Notes{} }

type state uint8

const (
	atStart state = iota
	inArray       // behind an opening bracket
	inRow         // objects one after the other without a bracket: usually just one
	inLines       // NDJSON
	done
	refused // 4 GiB or more
)

// previous is what stands before the position, apart from separators.
type previous uint8

const (
	nothing previous = iota
	goodOne
	badOne
)

// Decoder walks over one body. The zero value is ready for Reset. It is not safe for concurrent use,
// and keeps the body alive until the next Reset. Its own memory is a few words, and 50 KB from the first bad element on.
type Decoder struct {
	body    []byte
	pos     int // everything before it has been yielded or was a separator
	limit   int // end of the line in NDJSON, else of the body
	opening int // offset of the opening bracket
	last    int // offset of the closing bracket if the body ends with one, else the length of the body
	commas  int // since the last element
	budget  int // bytes that may still be looked at to find the ends of bad regions
	notes   Notes
	state   state
	prev    previous
	lenient bool
	yielded bool     // an event or a region, in this body
	search  *search  // made when it is needed, and kept
	line    *Decoder // walks over a line of NDJSON that is an array; made when it is needed, and kept
	inLine  bool     // it is not at its end
}

// Reset starts on a new body, which the decoder only reads and never copies.
func (d *Decoder) Reset(body []byte, o Options) {
	*d = Decoder{body: body, limit: len(body), lenient: o.Lenient, budget: budgetFor(len(body)), search: d.search, line: d.line}
	if bytes.HasPrefix(body, []byte(byteOrderMark)) {
		d.notes.ByteOrderMark = true
		d.pos = len(byteOrderMark)
	}
	switch {
	case uint64(len(body)) > math.MaxUint32: // spans are 32 bits wide
		d.state, d.pos = refused, len(body)
	case o.NDJSON:
		d.state, d.limit = inLines, d.pos
	}
}

// Notes tells what has been noted so far; it is complete once Next has returned false.
func (d *Decoder) Notes() Notes { return d.notes }

// Next yields the next event or bad region, in the order of the body; false at the end. Every byte of
// the body is in exactly one event, one bad region, or is a separator: a blank, a comma between
// elements, the brackets of the array, a byte order mark at the start.
func (d *Decoder) Next(e *Event) bool {
	for {
		if d.inLine {
			if d.line.Next(e) {
				d.yielded = true
				return true
			}
			d.leaveArray()
		}
		p := blanks(d.body, d.pos)
		if p >= d.limit {
			if d.nextLine(p) {
				continue
			}
			return d.finish(e)
		}
		switch c := d.body[p]; {
		case c == '{' && d.state != atStart:
			more := d.object(p, e)
			if id := e.at[fieldTrace]; id.e-id.s > MaxTraceID {
				e.boundTraceID()
			}
			return more
		case c == ',' && d.state != atStart:
			d.commas++
			d.pos = p + 1
		case d.state == atStart && d.begin(p):
		case c == ']' && d.state == inArray:
			if d.nextArray(p) {
				continue
			}
			return d.closing(p, e)
		case c == '[' && d.state == inLines && d.prev == nothing && d.commas == 0 && d.isArray(p):
			d.enterArray(p)
		default:
			return d.junk(p, e)
		}
	}
}

// begin looks at the first byte of the body; true when it is used up.
func (d *Decoder) begin(p int) bool {
	d.pos = p
	switch d.body[p] {
	case '[':
		d.state, d.opening, d.pos = inArray, p, p+1
		d.findLast()
	case '{':
		d.state = inRow
	case ',':
		d.withoutBracket(p)
	default:
		return false
	}
	return true
}

// withoutBracket: the body begins with neither an array nor an object. It is an array that lost its
// opening bracket if it has the closing one.
func (d *Decoder) withoutBracket(p int) {
	d.state, d.opening, d.pos = inArray, p, p
	if d.findLast(); d.last == len(d.body) || d.last == p {
		d.state, d.last = inRow, len(d.body)
	}
}

func (d *Decoder) object(p int, e *Event) bool {
	b := d.body[:d.limit]
	*e = Event{body: d.body}
	end := d.element(b, p, e)
	if end < 0 {
		return d.bad(p, e)
	}
	e.at[raw] = span{uint32(p), uint32(end)}
	if d.commas == 0 && d.prev == goodOne {
		d.notes.MissingCommas++
	}
	d.countCommas()
	d.prev, d.yielded = goodOne, true
	d.pos = end
	return true
}

// countCommas notes the superfluous ones of the commas before an element or region.
func (d *Decoder) countCommas() {
	n := d.commas
	d.commas = 0
	if d.prev != nothing && d.state != inLines {
		n = max(n-1, 0) // one belongs there
	}
	d.notes.ExtraCommas += n
}

// nextLine finds the end of the line that starts at p; false when there is none.
func (d *Decoder) nextLine(p int) bool {
	if d.state != inLines || p >= len(d.body) {
		return false
	}
	d.pos = p
	d.notes.ExtraCommas += d.commas // a comma at the end of a line
	d.commas = 0
	d.prev = nothing
	d.limit = len(d.body)
	if i := bytes.IndexByte(d.body[p:], '\n'); i >= 0 {
		d.limit = p + i
	}
	return true
}

// isArray reports whether an array of objects, or an empty one, begins at p.
func (d *Decoder) isArray(p int) bool {
	if p >= d.limit || d.body[p] != '[' {
		return false
	}
	first := blanks(d.body, p+1)
	return first < d.limit && (d.body[first] == '{' || d.body[first] == ']')
}

// enterArray begins with an array on a line of NDJSON. Offsets are those of the body, because it begins where that does.
func (d *Decoder) enterArray(p int) {
	if d.line == nil {
		d.line = new(Decoder)
	}
	*d.line = Decoder{body: d.body[:d.limit], pos: p, limit: d.limit, lenient: d.lenient, budget: d.budget, search: d.search}
	d.inLine = true
}

// leaveArray goes on with the next line.
func (d *Decoder) leaveArray() {
	n := d.line.notes
	d.notes.MissingCommas += n.MissingCommas
	d.notes.ExtraCommas += n.ExtraCommas
	d.notes.Unclosed = d.notes.Unclosed || n.Unclosed
	d.budget, d.search = d.line.budget, d.line.search
	d.line.body = nil
	d.inLine, d.pos = false, d.limit
}

// nextArray goes on with another array on a line behind the closing bracket at p, if there is one.
func (d *Decoder) nextArray(p int) bool {
	next := blanks(d.body, p+1)
	if !d.isArray(next) || bytes.IndexByte(d.body[p:next], '\n') < 0 {
		return false
	}
	d.notes.ExtraCommas += d.commas
	d.commas, d.prev = 0, nothing
	d.opening, d.pos = next, next+1
	d.findLast()
	return true
}

// finish is the end of the body, or of what is looked at.
func (d *Decoder) finish(e *Event) bool {
	s := d.state
	d.state = done
	d.pos = len(d.body)
	switch s {
	case done:
		return false
	case refused:
		*e = Event{body: d.body, Reason: TooLarge}
		return true
	}
	if s == inArray && d.prev == nothing { // only a bracket: there must be something to hand on
		end := trimmed(d.body, d.opening)
		return d.region(e, d.opening, end, end, Truncated)
	}
	d.notes.ExtraCommas += d.commas
	d.notes.Unclosed = d.notes.Unclosed || s == inArray
	return d.onlyCommas(e)
}

// closing is a closing bracket in the array.
func (d *Decoder) closing(p int, e *Event) bool {
	rest := blanks(d.body, p+1)
	if rest < len(d.body) && d.stray(p, e) {
		return true
	}
	d.notes.ExtraCommas += d.commas
	d.state = done
	d.pos = len(d.body)
	if rest < len(d.body) {
		return d.region(e, rest, d.withoutSeparators(rest, len(d.body)), rest, TrailingData)
	}
	return d.onlyCommas(e)
}

// onlyCommas makes e the region of a body, at its end, that has commas and no element: no other trace of it would be
// left. A body without commas is empty.
func (d *Decoder) onlyCommas(e *Event) bool {
	if d.yielded || d.notes.ExtraCommas == 0 {
		return false
	}
	d.notes.ExtraCommas = 0 // they are in the region
	start := 0
	if d.notes.ByteOrderMark {
		start = len(byteOrderMark)
	}
	start = blanks(d.body, start)
	return d.region(e, start, trimmed(d.body, start), start+bytes.IndexByte(d.body[start:], ','), BadStructure)
}

// findLast looks for the bracket that closes the array from behind.
func (d *Decoder) findLast() {
	if d.last = trimmed(d.body, d.pos) - 1; d.last < d.pos || d.body[d.last] != ']' {
		d.last = len(d.body)
	}
}

// region makes e the bad region [s, t) with its fault at off.
func (d *Decoder) region(e *Event, s, t, off int, r Reason) bool {
	*e = Event{body: d.body, errOff: uint32(off), Reason: r}
	e.at[raw] = span{uint32(s), uint32(t)}
	d.yielded = true
	return true
}

// trimmed is the end of b without the blanks at its end, not before s.
func trimmed(b []byte, s int) int {
	t := len(b)
	for t > s && isBlank(b[t-1]) {
		t--
	}
	return t
}
