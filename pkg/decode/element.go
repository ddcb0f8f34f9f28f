package decode

// element takes the object at p (b[p] is its brace) and fills e's fields. It returns the offset behind
// the object, or -1 when it is not good; locate then tells why. One pass in Go owns the structure,
// keys and short strings; skip takes what is long or unknown.
func (d *Decoder) element(b []byte, p int, e *Event) int {
	p = blanks(b, p+1)
	if p < len(b) && b[p] == '}' {
		return p + 1
	}
	for {
		if p >= len(b) || b[p] != '"' {
			return -1
		}
		f, q := other, 0
		if p+17 <= len(b) {
			f, q = knownKey(b, p+1)
		}
		if q == 0 {
			if q = d.text(b, p+1); q < 0 {
				return -1
			}
			f = foldKey(b[p+1 : q-1])
		}
		p = blanks(b, q)
		if p >= len(b) || b[p] != ':' {
			return -1
		}
		if p = blanks(b, p+1); p >= len(b) {
			return -1
		}
		start := p
		if b[p] != '"' {
			if p = d.value(b, p); p < 0 {
				return -1
			}
			e.setOther(f, start, p)
		} else {
			if f == fieldLogs || f == other {
				p = d.longText(b, p+1)
			} else {
				p = d.text(b, p+1)
			}
			if p < 0 {
				return -1
			}
			e.setText(f, start+1, p-1)
		}
		if p = blanks(b, p); p >= len(b) {
			return -1
		}
		switch b[p] {
		case '}':
			return p + 1
		case ',':
			p = blanks(b, p+1)
		default:
			return -1
		}
	}
}

// setText notes a string field: s and t enclose its content. The last of equal keys wins.
func (e *Event) setText(f field, s, t int) {
	v := span{uint32(s), uint32(t)}
	switch f {
	case fieldName:
		e.name = v
		e.Kind = kindOf(e.body[s:t])
	case fieldLogs:
		e.logs = v
	case fieldStatus:
		e.status = v
	case fieldTrace:
		e.trace = v
	case fieldEnd:
		e.end = v
	case fieldStart:
		e.start = v
	case fieldMetrics:
		e.metrics = span{uint32(s - 1), uint32(t + 1)}
	}
}

// setOther notes a field whose value is no string: only metrics may be that, the others count as absent.
func (e *Event) setOther(f field, s, t int) {
	switch f {
	case fieldMetrics:
		e.metrics = span{uint32(s), uint32(t)}
	case fieldName:
		e.name, e.Kind = span{}, Unknown
	case fieldLogs:
		e.logs = span{}
	case fieldStatus:
		e.status = span{}
	case fieldTrace:
		e.trace = span{}
	case fieldEnd:
		e.end = span{}
	case fieldStart:
		e.start = span{}
	}
}

// text is the offset behind the string whose content starts at p, -1 when it is not good. It is
// meant for short ones.
func (d *Decoder) text(b []byte, p int) int {
	if end := strictString(b, p); end >= 0 || !d.lenient {
		return end
	}
	return lenientString(b, p)
}

// value takes a value that is no string.
func (d *Decoder) value(b []byte, p int) int {
	if c := b[p]; c == '{' || c == '[' {
		return d.container(b, p)
	}
	end, _, _ := scalar(b, p)
	return end
}
