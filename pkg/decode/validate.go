package decode

// MaxDepth is how many objects and arrays an element may have inside one another, itself included.
const MaxDepth = 512

// validate is the scanner in plain Go: the whole of it where sonic does not run, elsewhere the second
// opinion that names the exact byte. It takes the JSON value at p (no blanks before it) and returns
// the offset behind it, or end < 0 with the offset and the reason of the first fault. depth is how
// many more levels may open. It is iterative: the stack is one bit per level, 1 = object.
func validate(b []byte, p, depth int, lenient bool) (end, off int, r Reason) {
	var objects [MaxDepth / 64]uint64
	level := 0
value:
	if p >= len(b) {
		return -1, len(b), Truncated
	}
	switch c := b[p]; c {
	case '"':
		q := stringEnd(b, p+1, lenient)
		if q < 0 {
			off, r = stringFault(b, p+1, lenient)
			return -1, off, r
		}
		p = q
	case '{', '[':
		if level >= depth {
			return -1, p, TooDeep
		}
		if c == '{' {
			objects[level>>6] |= 1 << (level & 63)
		} else {
			objects[level>>6] &^= 1 << (level & 63)
		}
		p = blanks(b, p+1)
		if p < len(b) && b[p] == c+2 { // '}' is '{'+2, ']' is '['+2
			p++
			break
		}
		level++
		if c == '{' {
			goto key
		}
		goto value
	default:
		q := 0
		if p+8 <= len(b) {
			q = shortNumber(b, p)
		}
		if q == 0 {
			if q, off, r = scalar(b, p); q < 0 {
				return -1, off, r
			}
		}
		p = q
	}
	for level > 0 {
		p = blanks(b, p)
		if p >= len(b) {
			return -1, len(b), Truncated
		}
		object := objects[(level-1)>>6]>>((level-1)&63)&1 == 1
		switch c := b[p]; {
		case c == ',':
			p = blanks(b, p+1)
			if object {
				goto key
			}
			goto value
		case object && c == '}', !object && c == ']':
			p++
			level--
		default:
			return -1, p, BadStructure
		}
	}
	return p, -1, OK
key:
	if p, off, r = member(b, p, lenient); p < 0 {
		return -1, off, r
	}
	goto value
}

// member takes a key and its colon: the offset of the value, or the fault.
func member(b []byte, p int, lenient bool) (start, off int, r Reason) {
	if p >= len(b) {
		return -1, len(b), Truncated
	}
	if b[p] != '"' {
		return -1, p, BadStructure
	}
	q := stringEnd(b, p+1, lenient)
	if q < 0 {
		off, r = stringFault(b, p+1, lenient)
		return -1, off, r
	}
	p = blanks(b, q)
	if p >= len(b) {
		return -1, len(b), Truncated
	}
	if b[p] != ':' {
		return -1, p, BadStructure
	}
	return blanks(b, p+1), -1, OK
}

func stringEnd(b []byte, p int, lenient bool) int {
	if lenient {
		return lenientString(b, p)
	}
	return strictString(b, p)
}

// scalar takes a number, true, false or null.
func scalar(b []byte, p int) (end, off int, r Reason) {
	switch b[p] {
	case 't':
		end = literal(b, p, "true")
	case 'f':
		end = literal(b, p, "false")
	case 'n':
		end = literal(b, p, "null")
	case '}', ']', ',', ':':
		return -1, p, BadStructure
	default:
		end = number(b, p)
	}
	if end < 0 {
		if ^end >= len(b) {
			return -1, len(b), Truncated
		}
		return -1, ^end, BadValue
	}
	if end < len(b) && !delimiter(b[end]) {
		return -1, end, BadValue
	}
	return end, -1, OK
}

// delimiter reports whether c may stand right behind a number or literal, or at least belongs to the
// structure: then the fault is not the value's.
func delimiter(c byte) bool {
	switch c {
	case ' ', '\n', '\r', '\t', ',', '}', ']', ':', '{', '[', '"':
		return true
	}
	return false
}

// literal and number return the offset behind, or the complement of the offset of the wrong byte.
func literal(b []byte, p int, s string) int {
	for i := range len(s) {
		if p+i >= len(b) || b[p+i] != s[i] {
			return ^(p + i)
		}
	}
	return p + len(s)
}

func number(b []byte, p int) int {
	if p < len(b) && b[p] == '-' {
		p++
	}
	first := p
	if p = digits(b, p); p < 0 {
		return p
	}
	if b[first] == '0' {
		p = first + 1
	}
	if p < len(b) && b[p] == '.' {
		if p = digits(b, p+1); p < 0 {
			return p
		}
	}
	if p < len(b) && b[p]|0x20 == 'e' {
		p++
		if p < len(b) && (b[p] == '+' || b[p] == '-') {
			p++
		}
		if p = digits(b, p); p < 0 {
			return p
		}
	}
	return p
}

// digits takes one digit or more.
func digits(b []byte, p int) int {
	start := p
	for p < len(b) && b[p]-'0' < 10 {
		p++
	}
	if p == start {
		return ^p
	}
	return p
}
