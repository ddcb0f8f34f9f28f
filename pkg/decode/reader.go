package decode

// levels is how deep a reader follows: what a bad element may have left open, and a good element in it.
const levels = 2 * MaxDepth

type container uint8

const (
	loose   container = iota // no bracket is open, or none that is known: values and commas
	inList                   // an array is open
	inBrace                  // an object is open
)

type expect uint8

const (
	wantValue expect = iota
	wantNext         // a value is complete: a comma or the end
	wantKey
	wantFirst // a key or the closing brace
	wantColon
)

// level is one open container.
type level struct {
	start  uint32 // of its bracket
	run    uint32 // the first object of the run in it; 0: none
	oldest uint32 // the first run of this level and all below it
	height uint16 // levels inside, of the deepest value
	good   bool   // an object of the run is complete
	kind   container
	next   expect
}

// reader is one reading of the bytes.
type reader struct {
	stack [levels + 1]level
	top   int
	// closed is where the brackets of the bad element close, if they match. What follows is its neighbour,
	// unless that proves to be inside of something; 0: not known.
	closed int

	prev  byte // the last byte outside of strings that is no blank; a quote where a string stands before
	first bool // no structure stands between the element's first byte and here
}

func (r *reader) clear() {
	r.top, r.closed = 0, 0
	r.stack[0] = level{}
}

// oldest is the start of the first run that is still open; 0: there is none.
func (r *reader) oldest() uint32 { return r.stack[r.top].oldest }

// object opens a brace at p. border tells that the run of an object may begin there.
func (r *reader) object(x *search, p int, border bool) {
	l := &r.stack[r.top]
	switch {
	case l.kind == inList && l.next == wantNext && l.good:
		l = r.lift(x) // a comma is missing
	case l.next != wantValue && (l.kind != loose) && !(l.kind == inList && l.next == wantFirst):
		r.fault(x)
		l = &r.stack[0]
	}
	if border && l.run == 0 && l.kind != inBrace {
		l.run, l.good = uint32(p), false
		if l.oldest == 0 {
			l.oldest = l.run
		}
	}
	r.push(x, p, inBrace)
}

// lift gives up the open containers, but not the run in the innermost.
func (r *reader) lift(x *search) *level {
	run := r.stack[r.top].run
	r.stack[r.top].run = 0
	r.fault(x)
	l := &r.stack[0]
	l.run, l.oldest, l.good, l.next = run, run, run != 0, wantNext
	return l
}

func (r *reader) list(x *search, p int) {
	l := &r.stack[r.top]
	switch {
	case l.kind == loose && l.next == wantNext:
		r.reject(x)
	case l.next != wantValue && !(l.kind == inList && l.next == wantFirst):
		r.fault(x)
	}
	r.push(x, p, inList)
}

func (r *reader) push(x *search, p int, kind container) {
	if r.top == levels {
		r.fault(x)
	}
	oldest := r.stack[r.top].oldest
	r.top++
	r.stack[r.top] = level{start: uint32(p), oldest: oldest, kind: kind, next: wantFirst}
}

// close is a closing bracket at p.
func (r *reader) close(x *search, brace bool, p int) {
	l := &r.stack[r.top]
	kind := inList
	if brace {
		kind = inBrace
	}
	if l.kind != kind || l.next != wantNext && l.next != wantFirst {
		if l.kind != loose || !brace && x.strayBracket(p) {
			r.fault(x)
		}
		r.closed = 0
		r.reject(x)
		return
	}
	height := l.height + 1
	r.top-- // and with it goes the run inside
	if height > MaxDepth {
		r.fault(x)
		return
	}
	l = &r.stack[r.top]
	l.height = max(l.height, height)
	l.next = wantNext
	l.good = l.good || brace && l.run != 0
}

// reject says that the run on the lowest level, which is the only one, is none.
func (r *reader) reject(x *search) {
	if r.closed != 0 {
		x.accept(r.closed)
	}
	r.clear()
	r.stack[0].next = wantNext
}

// value is a complete string, number or literal.
func (r *reader) value(x *search, str bool) {
	l := &r.stack[r.top]
	switch {
	case l.kind == inBrace && str && (l.next == wantKey || l.next == wantFirst):
		l.next = wantColon
	case l.next == wantValue, l.kind == inList && l.next == wantFirst:
		l.next = wantNext
	case l.kind == loose:
		r.reject(x)
	default:
		r.fault(x)
	}
}

func (r *reader) comma(x *search) {
	l := &r.stack[r.top]
	switch {
	case l.kind != loose && l.next != wantNext:
		r.fault(x)
	case l.kind == inBrace:
		l.next = wantKey
	default:
		l.next = wantValue
	}
}

func (r *reader) colon(x *search) {
	l := &r.stack[r.top]
	switch {
	case l.kind == inBrace && l.next == wantColon:
		l.next = wantValue
	case l.kind == loose: // what stood before was a key, and the run in an object
		x.doubtful(l, len(x.b))
		r.reject(x)
	default:
		r.fault(x)
	}
}

// junk is a byte that is no JSON.
func (r *reader) junk(x *search) {
	if l := &r.stack[r.top]; l.kind == loose && l.next == wantNext {
		r.reject(x)
		return
	}
	r.fault(x)
}

// fault gives up all open containers. A run at which no container was open is one of elements of the body.
func (r *reader) fault(x *search) {
	if r.closed != 0 {
		x.accept(r.closed)
	}
	if l := &r.stack[0]; l.run != 0 && l.good {
		x.accept(int(l.run))
	}
	for i := 1; i <= r.top; i++ {
		open := len(x.b) // the element of the run that is not complete
		if i < r.top {
			open = int(r.stack[i+1].start)
		}
		x.doubtful(&r.stack[i], open)
	}
	r.clear()
}

// strayBracket reports whether an object follows behind the bracket at p and a comma: the bracket is then too much.
func (x *search) strayBracket(p int) bool {
	p = blanks(x.b, p+1)
	if p < len(x.b) && x.b[p] == ',' {
		p = blanks(x.b, p+1)
		return p < len(x.b) && x.b[p] == '{'
	}
	return false
}

// end is the end of the array, or of what is read; sure tells that the run that goes up to it is one of
// elements of the body.
func (r *reader) end(x *search, sure bool) {
	if l := &r.stack[r.top]; sure && l.kind != inBrace && l.run != 0 && l.good {
		x.accept(int(l.run))
	}
}

// doubtful looks at a run that may be a part of the bad element, or stand behind it when that has lost a
// bracket: what is of a known kind stands behind it.
func (x *search) doubtful(l *level, end int) {
	if l.run == 0 || !l.good {
		return
	}
	for p := int(l.run); p < end && x.b[p] == '{'; {
		e := Event{body: x.d.body}
		next := x.d.element(x.b, p, &e)
		if next < 0 {
			return
		}
		x.d.budget -= next - p
		if e.Kind != Unknown {
			x.accept(p)
			return
		}
		if p = blanks(x.b, next); p < len(x.b) && x.b[p] == ',' {
			p = blanks(x.b, p+1)
		}
	}
}
