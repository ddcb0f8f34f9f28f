package decode

// budgetFor bounds the bytes looked at, all attempts together, to find where bad regions end. A body in
// which every element is bad needs about four times its length; only bodies made to be expensive need
// more, and the rest of theirs becomes one region.
func budgetFor(n int) int { return 8*n + 4096 }

// bad makes e the region of the object that starts at p and is not good.
func (d *Decoder) bad(p int, e *Event) bool {
	_, off, r := validate(d.body[:d.limit], p, MaxDepth, d.lenient)
	d.budget -= 2 * (off - p)
	end, _ := d.regionEnd(p)
	return d.cut(e, p, end, off, r)
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
	case end >= 0 && b[p] == '[' && end == d.last+1 && d.state == inArray:
		off, r = p, NotObject
		if next, more := d.regionEnd(p); more { // it ends with the array's own closing bracket
			end, r = next, BadStructure
		}
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
		end, _ = d.regionEnd(p)
	}
	return d.cut(e, p, end, off, r)
}

// stray makes e a region if the closing bracket at p is not the end of the array: the body ends with
// another one, and good elements come before that. (Not so if it goes on with another array.)
func (d *Decoder) stray(p int, e *Event) bool {
	if d.last == len(d.body) || d.last == p || d.body[blanks(d.body, p+1)] == '[' {
		return false
	}
	t, more := d.regionEnd(p)
	if !more {
		return false
	}
	return d.cut(e, p, t, p, BadStructure)
}

// cut yields the region [s, t) without the separators at its end, and goes on behind it. A fault behind that
// end is one of the neighbour's bytes only because something is missing before it.
func (d *Decoder) cut(e *Event, s, t, off int, r Reason) bool {
	t = d.withoutSeparators(s, t)
	if off > t {
		off, r = t, Truncated
	}
	d.countCommas()
	d.prev = badOne
	d.pos = t
	return d.region(e, s, t, off, r)
}

// withoutSeparators is the end of the region [s, t) without the commas and blanks at its end. In an open
// string they may be its content: there only the comma before a neighbour is taken off.
func (d *Decoder) withoutSeparators(s, t int) int {
	end := t
	for end > s+1 && (isBlank(d.body[end-1]) || d.body[end-1] == ',') {
		end--
	}
	if end == t || !openString(d.body[s:end]) {
		return end
	}
	if t < d.tail() {
		for t > end && isBlank(d.body[t-1]) {
			t--
		}
		if t > end {
			t--
		}
	}
	return t
}

// openString reports whether b ends inside of a string.
func openString(b []byte) bool {
	open := false
	for p := nextQuote(b, 0, 0); p >= 0; p = nextQuote(b, p+1, p+1) {
		open = !open
	}
	return open
}

// ends reports whether an element may end before q: a separator, a closing bracket, the start of the
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

// tail is where the last region of the body (or line) ends if nothing better is found.
func (d *Decoder) tail() int {
	if d.state == inArray && d.last < d.limit {
		return d.last
	}
	return d.limit
}
