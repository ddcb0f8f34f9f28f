package decode

import "bytes"

// chainLength is how many good elements in a row prove that a place inside a bad element is really the
// start of its neighbour.
const chainLength = 16

// budgetFor bounds the bytes looked at, all attempts together, to find where bad regions end. A body in
// which every element is bad needs about four times its length; only bodies made to be expensive need
// more, and the rest of theirs becomes one region.
func budgetFor(n int) int { return 8*n + 4096 }

// bad makes e the region of the object that starts at p and is not good.
func (d *Decoder) bad(p int, e *Event) bool {
	_, off, r := validate(d.body[:d.limit], p, MaxDepth, d.lenient)
	off = max(off, p)
	d.budget -= 2 * (off - p)
	return d.cut(e, p, d.regionEnd(p), off, r)
}

// junk makes e the region of what starts at p and is no object.
func (d *Decoder) junk(p int, e *Event) bool {
	if d.state == atStart {
		d.withoutBracket(p)
	}
	b := d.body[:d.limit]
	end, off, r := validate(b, p, MaxDepth, d.lenient)
	d.budget -= max(end, off) - p
	switch {
	case end >= 0 && b[p] == '[' && end == d.last+1 && d.state == inArray && d.follows(blanks(b, p+1)):
		end, off, r = p+1, p, BadStructure // the array's own closing bracket: the opening one is too much
	case end >= 0 && d.ends(end):
		off, r = p, NotObject
	case end >= 0:
		end, off, r = -1, blanks(b, end), BadStructure
	}
	if d.prev == goodOne && d.commas == 0 {
		off, r = p, BadStructure
		if d.state != inArray {
			r = TrailingData
		}
	}
	if end < 0 {
		end = d.regionEnd(p)
	}
	return d.cut(e, p, end, off, r)
}

// stray makes e a region if the closing bracket at p is not the end of the array: the body ends with
// another one, and good elements come before that. (Not so if it goes on with another array.)
func (d *Decoder) stray(p int, e *Event) bool {
	if d.last == len(d.body) || d.last == p || d.body[blanks(d.body, p+1)] == '[' {
		return false
	}
	t := d.regionEnd(p)
	q := t
	for q < len(d.body) && (isBlank(d.body[q]) || d.body[q] == ',') {
		q++
	}
	if !d.follows(q) {
		return false
	}
	return d.cut(e, p, t, p, BadStructure)
}

// cut yields the region [s, t) without the separators at its end, and goes on behind it.
func (d *Decoder) cut(e *Event, s, t, off int, r Reason) bool {
	for t > s+1 && (isBlank(d.body[t-1]) || d.body[t-1] == ',') {
		t--
	}
	d.countCommas()
	d.prev = badOne
	d.pos = t
	return d.region(e, s, t, off, r)
}

// ends tells whether an element may end before q: a separator, a closing bracket, the start of the
// next one or the end of the body comes there.
func (d *Decoder) ends(q int) bool {
	q = blanks(d.body[:d.limit], q)
	if q >= d.limit {
		return true
	}
	switch d.body[q] {
	case ',', '{':
		return true
	case ']':
		return d.state == inArray && (q == d.last || d.last == len(d.body))
	}
	return false
}

// regionEnd finds where the bad element at s ends. It matches brackets, aware of strings, and at the same
// time looks for places where a neighbour must start:
//
//   - an object right inside an object, not behind a colon: a closing brace is missing;
//   - a "string" that ends with a comma or brace and an opening brace: a quote is missing, so that
//     inside and outside of strings have changed places, and this is the border of two elements. (In a
//     real string the quote behind such text is followed by what cannot be a key.)
//
// Either counts only if good elements follow from there.
func (d *Decoder) regionEnd(s int) int {
	if d.budget <= 0 {
		return d.tail()
	}
	b := d.body[:d.limit]
	var n nesting
	headless := b[s] != '{'
	if headless {
		n.open(true) // as if its brace had been lost
	}
	colon := false
	prev := byte(0) // the last byte that is no blank
	for p := s; p < len(b); p++ {
		c := b[p]
		switch c {
		case ' ', '\n', '\r', '\t':
			continue
		case '\\':
			p++ // also outside of strings: this may be the inside of one
		case '"':
			q := lenientString(b, p+1)
			if q < 0 {
				return d.search(s)
			}
			if k := border(b, p, q-1); k >= 0 && d.follows(k) {
				return d.spent(s, k)
			}
			p = q - 1
		case '{':
			if p > s && prev != ':' && n.inObject() && d.follows(p) {
				return d.spent(s, p)
			}
			n.open(true)
		case '[':
			n.open(false)
		case '}':
			if n.close(true); n.level == 0 {
				if d.ends(p + 1) {
					return d.spent(s, p+1)
				}
				n.open(true) // what follows is still the same junk
			}
		case ']':
			if d.state == inArray && p == d.last {
				return d.search(s)
			}
			n.close(false)
		case ':':
			colon = true
		case ',':
			if headless && !colon && n.level == 1 && d.state == inArray {
				return d.spent(s, p)
			}
		}
		prev = c
	}
	return d.search(s)
}

func (d *Decoder) spent(s, t int) int {
	d.budget -= t - s
	return t
}

// tail is where the last region of the body (or line) ends if nothing better is found.
func (d *Decoder) tail() int {
	if d.state == inArray && d.last < d.limit {
		return d.last
	}
	return d.limit
}

// border finds the brace in `…},{` or `…,{` at the end of the string between the quotes at s and t.
func border(b []byte, s, t int) int {
	k := t - 1
	for k > s && isBlank(b[k]) {
		k--
	}
	if b[k] != '{' {
		return -1
	}
	j := k - 1
	for j > s && isBlank(b[j]) {
		j--
	}
	if b[j] != ',' && b[j] != '}' {
		return -1
	}
	return k
}

// search is the last resort when the brackets from s on do not match: the first brace behind a comma
// or a closing brace from which good elements follow.
func (d *Decoder) search(s int) int {
	t := d.tail()
	d.budget -= t - s
	for p := s + 1; p < t && d.budget > 0; p++ {
		i := bytes.IndexByte(d.body[p:t], '{')
		if i < 0 {
			break
		}
		d.budget -= i
		p += i
		j := p - 1
		for j > s && isBlank(d.body[j]) {
			j--
		}
		if c := d.body[j]; (c == ',' || c == '}') && d.follows(p) {
			return p
		}
	}
	return t
}

// follows tells whether the elements of the body go on at p: an event of a known kind stands there, or
// good elements in a row up to the end, up to a bad one, or chainLength of them. Objects in an array
// inside the bad element are told from its neighbours by what comes behind the last of them.
func (d *Decoder) follows(p int) bool {
	b := d.body[:d.limit]
	if p >= len(b) || b[p] != '{' {
		return false
	}
	for n := range chainLength {
		if d.budget <= 0 {
			return false
		}
		e := Event{body: d.body}
		end := d.element(b, p, &e)
		if end < 0 {
			_, off, _ := validate(b, p, MaxDepth, d.lenient)
			d.budget -= 2 * (max(off, p) - p)
			return n > 0
		}
		d.budget -= end - p
		if e.Kind != Unknown {
			return true
		}
		q := blanks(b, end)
		if q < len(b) && b[q] == ',' {
			q = blanks(b, q+1)
		}
		switch {
		case q >= len(b), d.state == inArray && q == d.last:
			return true
		case b[q] != '{':
			return false
		}
		p = q
	}
	return true
}
