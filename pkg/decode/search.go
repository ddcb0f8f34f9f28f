package decode

import "bytes"

// The search for the end of a bad element.
//
// Inside the bad element anything may have happened; behind it the body is JSON again. So the search reads
// on from the element's start and looks for a run: values separated by commas that are one another's
// neighbours. Where a run ends tells what it was:
//
//   - at the array's last bracket, or at the end of the body: it is made of elements of the body;
//   - at another fault: of elements too, unless the run began inside a container whose beginning is good,
//     which is the bad element itself in all likelihood;
//   - at a closing bracket of its own, or at text that cannot follow an element: it is a piece of the bad
//     element.
//
// A run begins with an object behind a comma or a closing brace: what stands behind a colon or an opening
// bracket is inside of something.
//
// A lost quote makes the inside of strings out of what is outside, and the other way round, as far as the
// next lost quote. Both readings are tried at once: a byte between two quotes is structure for one reader
// and the content of a string for the other, so that the body is still read only once.

// search holds what the search needs: 40 KiB, made when the first bad element is met.
type search struct {
	d       *Decoder
	b       []byte
	from    int
	readers [2]reader // which of them is outside of strings changes with each quote
	found   int       // where the region may end; 0: not found yet
	looked  int       // bytes in which a quote was looked for, in all bodies: tests bound it
}

// regionEnd finds where the bad element at s ends: where its first neighbour starts, where it closes, or
// else where the array or the body does. more tells whether the body goes on there.
func (d *Decoder) regionEnd(s int) (end int, more bool) {
	if d.budget <= 0 {
		return d.tail(), false
	}
	if d.search == nil {
		d.search = new(search)
	}
	x := d.search
	x.d, x.b, x.from, x.found = d, d.body[:d.limit], s, 0
	for i := range x.readers {
		x.readers[i].clear()
	}
	p := x.scan(s)
	x.d, x.b = nil, nil
	d.budget -= p - s
	if x.found == 0 {
		return d.tail(), false
	}
	return x.found, true
}

// scan reads from s on, from quote to quote, and returns the offset up to which it has read.
func (x *search) scan(s int) int {
	b := x.b
	end := min(len(b), s+x.d.budget)
	m := matcher{headless: b[s] != '{'}
	if m.headless {
		m.open(true) // as if its brace had been lost
	}
	begin := s // of the text between two quotes
	for p, outside, window := s, 0, firstWindow; ; {
		// Text is read piece by piece: to look for a quote that is far away, for each of many bad elements, would
		// take a time that grows with the square of the body.
		q := nextQuote(b[:min(end, p+window)], p, s)
		quote := q >= 0
		if !quote {
			q = min(end, p+window)
			window = min(2*window, maxWindow)
		}
		x.looked += q - p
		if p == begin {
			x.readers[outside].prev, x.readers[outside].first = '"', p == s
		}
		next, over := x.structure(&x.readers[outside], &m, p, q)
		if over {
			return next
		}
		if !quote && next < end {
			p = next
			continue
		}
		if !quote {
			r := &x.readers[outside]
			x.finish(r, end == len(b) && x.d.last >= x.d.limit && r.top == 0)
			return end
		}
		if inside := &x.readers[outside^1]; begin == s {
			inside.clear() // it has not seen the beginning of this string
		} else if x.d.lenient || strictString(b, begin) == q+1 {
			inside.value(x, true)
		} else {
			inside.fault(x)
		}
		if x.decided() {
			return q
		}
		p = q + 1
		begin, window = p, firstWindow
		outside ^= 1
	}
}

const (
	firstWindow = 128
	maxWindow   = 4 << 10
)

// nextQuote is the offset of the first quote from p on that no backslash escapes; bytes before start do not
// count. -1: none.
func nextQuote(b []byte, p, start int) int {
	for {
		i := bytes.IndexByte(b[p:], '"')
		if i < 0 {
			return -1
		}
		p += i
		n := p
		for n > start && b[n-1] == '\\' {
			n--
		}
		if (p-n)&1 == 0 {
			return p
		}
		p++
	}
}

// accept notes a place from which the elements of the body go on.
func (x *search) accept(p int) {
	if x.found == 0 || p < x.found {
		x.found = p
	}
}

// decided reports whether the place that was found is the first: no run that began before it is still open.
func (x *search) decided() bool {
	if x.found == 0 {
		return false
	}
	for i := range x.readers {
		if o := x.readers[i].oldest(); o != 0 && int(o) < x.found {
			return false
		}
	}
	return true
}

// matcher matches the brackets of the bad element itself.
type matcher struct {
	nesting
	headless bool // the element does not begin with a brace
	member   bool // a colon was seen
	over     bool // the brackets do not match, or their end was found
}

// see takes the next byte of structure, which stands at p. It returns where the bad element ends when
// its brackets close there, else 0.
func (m *matcher) see(d *Decoder, c byte, p int) (end int) {
	switch c {
	case '{', '[':
		m.open(c == '{')
	case '}', ']':
		if m.over = !m.close(c == '}'); !m.over && m.level == 0 {
			if m.over = true; d.ends(p + 1) {
				return p + 1
			}
		}
	case ':':
		m.member = true
	case ',':
		if m.headless && !m.member && m.level == 1 && d.state == inArray {
			m.over = true
			return p
		}
	}
	return 0
}

// structure gives a reader the text between two strings. over is true when nothing more need be read than up to next.
func (x *search) structure(r *reader, m *matcher, p, q int) (next int, over bool) {
	b, d := x.b, x.d
	for p < q {
		c := b[p]
		switch c {
		case ' ', '\n', '\r', '\t':
			p++
			continue
		case '{':
			r.object(x, p, r.prev == ',' || r.prev == '}' || r.first && p > x.from)
		case '[':
			r.list(x, p)
		case '}', ']':
			if c == ']' && d.state == inArray && p == d.last {
				x.finish(r, true)
				return p, true
			}
			r.close(x, c == '}', p)
			if x.decided() {
				return p, true
			}
		case ',':
			r.comma(x)
		case ':':
			r.colon(x)
		default:
			end, _, _ := scalar(b, p)
			if end >= 0 {
				r.value(x, false)
			} else if r.junk(x); x.decided() {
				return p, true
			}
			for r.prev, p = c, max(end, p+1); p < len(b) && !delimiter(b[p]); p++ { // all of the word
			}
			continue
		}
		if r == &x.readers[0] && !m.over {
			r.closed = m.see(d, c, p)
		}
		r.first = r.first && p == x.from
		r.prev = c
		p++
	}
	return p, false
}

// finish ends both readers: the one that is outside of strings at the end of the array if sure, else at the end of
// what is read.
func (x *search) finish(outside *reader, sure bool) {
	outside.end(x, sure)
	for i := range x.readers {
		x.readers[i].fault(x)
	}
}
