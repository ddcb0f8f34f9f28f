package decode

import "bytes"

// mayBeTooDeep is a cheap bound on how deep a value nests: it is false only when the value cannot have
// more levels than an element allows inside itself. A level costs two brackets, so a short value
// cannot, and no value nests deeper than it has opening brackets. Where it is true, the Go scanner
// counts exactly; sonic's own limit is 4,096.
func mayBeTooDeep(v []byte) bool {
	if len(v) < 2*MaxDepth {
		return false
	}
	return bytes.Count(v, []byte{'['})+bytes.Count(v, []byte{'{'}) >= MaxDepth
}

// plainText tells that v holds only printable ASCII without a backslash: then no string in it can
// break a strict rule. Blanks other than spaces are not plain.
func plainText(v []byte) bool {
	p := 0
	for ; p+8 <= len(v); p += 8 {
		x := word(v, p)
		s := x ^ ones*'\\'
		if ((s-ones)&^s|(x-ones*0x20)|x)&tops != 0 {
			return false
		}
	}
	for ; p < len(v); p++ {
		if c := v[p]; c < 0x20 || c >= 0x80 || c == '\\' {
			return false
		}
	}
	return true
}
