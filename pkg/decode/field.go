package decode

import "bytes"

// FieldKey is the Kafka key from another field than traceId: the field of the event's top level whose name is exactly
// name. A string is taken unescaped and is not trimmed, a number as it is written; with anything else, an empty string
// and no such field there is no key (nil). Of equal names the last one counts. The memory is as in Key.
//
// A key of more than MaxTraceID bytes makes the event a bad region, as a long traceId does. The key of a bad region is
// found as Key finds it, strings only.
func (e *Event) FieldKey(name string, dst []byte) []byte {
	if e.Reason != OK {
		return e.unescaped(onlyText(e.Raw(), name, false), dst)
	}
	b := e.body[:e.at[raw].e]
	var found span
	p := blanks(b, int(e.at[raw].s)+1)
	for b[p] != '}' { // the element is known to be well formed
		q := lenientString(b, p+1)
		same := isName(b[p+1:q-1], name)
		p = blanks(b, blanks(b, q)+1)
		q, _, _ = validate(b, p, MaxDepth, true)
		if same {
			found = span{uint32(p), uint32(q)}
		}
		if p = blanks(b, q); b[p] == ',' {
			p = blanks(b, p+1)
		}
	}
	if found.s == 0 {
		return nil
	}
	var key []byte
	switch c := b[found.s]; {
	case c == '"':
		found.s++
		key = e.unescaped(b[found.s:found.e-1:found.e-1], dst)
	case c == '-' || c-'0' < 10:
		key = b[found.s:found.e:found.e]
	}
	if len(key) > MaxTraceID {
		e.Reason, e.errOff = LongTraceID, found.s
		return nil
	}
	return key
}

// isName reports whether the content of a name's string, still escaped, is name.
func isName(content []byte, name string) bool {
	if len(content) < len(name) {
		return false
	}
	if string(content) == name {
		return true
	}
	if !hasEscape(content) || len(content) > 6*len(name) { // \u00xx for each byte
		return false
	}
	var buf [6 * maxFold]byte
	u, bad := unescape(buf[:0], content)
	return bad < 0 && string(u) == name
}

// unescaped is s without escapes, nil when it is empty; what has an illegal escape is taken as it stands.
func (e *Event) unescaped(s, dst []byte) []byte {
	if hasEscape(s) {
		if u, bad := unescape(dst[:0], s); bad < 0 {
			s = u
		}
	}
	if len(s) == 0 {
		return nil
	}
	return s
}

// onlyText is the only string that a field called name has in a bad region, wherever it stands, still escaped; nil
// when there is none, or two that differ. Empty strings and those that are too long for a key are passed over.
func onlyText(region []byte, name string, trimmed bool) (text []byte) {
	for p := 0; ; {
		i := bytes.Index(region[p:], []byte(name))
		if i < 0 {
			return text
		}
		at := p + i
		p = at + len(name)
		if at == 0 || region[at-1] != '"' || p >= len(region) || region[p] != '"' {
			continue
		}
		q := blanks(region, p+1)
		if q >= len(region) || region[q] != ':' {
			continue
		}
		if q = blanks(region, q+1); q >= len(region) || region[q] != '"' {
			continue
		}
		end := strictString(region, q+1)
		if end < 0 {
			continue
		}
		v := region[q+1 : end-1 : end-1]
		if trimmed {
			v = trim(v)
		}
		p = end
		if len(v) == 0 || len(v) > maxSalvaged {
			continue
		}
		if text != nil && !bytes.Equal(text, v) {
			return nil
		}
		text = v
	}
}
