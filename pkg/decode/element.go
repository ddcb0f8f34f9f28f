package decode

// element takes the object at p (b[p] is its brace) and fills e's fields; it leaves garbage in e.at[other].
// It returns the offset behind the object, or -1 when it is not good; validate then tells why.
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
			if p = d.value(b, p, f); p < 0 {
				return -1
			}
			e.setOther(f, start, p)
		} else if p = d.fieldText(b, p+1, f, e); p < 0 {
			return -1
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

// fieldText takes the string of field f whose content starts at p and notes it in e: the offset behind
// it, or -1. The last of equal keys wins.
func (d *Decoder) fieldText(b []byte, p int, f field, e *Event) int {
	end := 0
	switch f {
	case fieldName:
		return d.nameText(b, p, e)
	case fieldStart, fieldEnd:
		end = timeText(b, p)
	case fieldTrace:
		end = traceText(b, p)
	case fieldStatus:
		if p+8 <= len(b) && word(b, p) == wSuccess {
			end = p + 8
		}
	}
	if end == 0 {
		if end = d.text(b, p); end < 0 {
			return -1
		}
	}
	e.at[f] = span{uint32(p), uint32(end - 1)}
	if f == fieldMetrics {
		e.at[f] = span{uint32(p - 1), uint32(end)} // what stands there, with its quotes
	}
	return end
}

func (d *Decoder) nameText(b []byte, p int, e *Event) (end int) {
	if p+16 <= len(b) {
		end, e.Kind = knownName(b, p)
	}
	if end == 0 {
		if end = d.text(b, p); end < 0 {
			return -1
		}
		e.Kind = kindOf(b[p : end-1])
	}
	e.at[fieldName] = span{uint32(p), uint32(end - 1)}
	return end
}

// setOther notes a field whose value is no string: only metrics may be that, the others count as absent.
func (e *Event) setOther(f field, s, t int) {
	switch f {
	case fieldMetrics:
		e.at[f] = span{uint32(s), uint32(t)}
		return
	case fieldName:
		e.Kind = Unknown
	}
	e.at[f] = span{}
}

// text is the offset behind the string whose content starts at p, -1 when it is not good.
func (d *Decoder) text(b []byte, p int) int {
	if end := strictString(b, p); end >= 0 || !d.lenient {
		return end
	}
	if end := skip(b, p-1); end >= 0 {
		return end
	}
	return lenientString(b, p)
}

// value takes a value of field f that is no string.
func (d *Decoder) value(b []byte, p int, f field) int {
	switch b[p] {
	case '{':
		if f == fieldMetrics {
			if end := flatObject(b, p); end > 0 {
				return end
			}
		}
		return d.container(b, p)
	case '[':
		return d.container(b, p)
	}
	end, _, _ := scalar(b, p)
	return end
}

// container takes an object or array inside an element. In lenient mode sonic's Skip takes it in one
// native call; in strict mode its strings would have to be looked at again, and validate is faster.
func (d *Decoder) container(b []byte, p int) int {
	if d.lenient {
		if end := skip(b, p); end >= 0 && !mayBeTooDeep(b[p:end]) {
			return end
		}
	}
	end, _, _ := validate(b, p, MaxDepth-1, d.lenient)
	return end
}
