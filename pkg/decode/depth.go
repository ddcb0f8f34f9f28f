package decode

import "bytes"

// mayBeTooDeep is a cheap bound on how deep a value inside an element nests: it is false only when the
// value cannot have MaxDepth levels, one more than an element has left. A level costs two brackets, so a
// short value cannot, and no value nests deeper than it has opening brackets. Where it is true, the Go
// scanner counts exactly. sonic's own limit is 4,096.
func mayBeTooDeep(v []byte) bool {
	if len(v) < 2*MaxDepth {
		return false
	}
	return bytes.Count(v, []byte{'['})+bytes.Count(v, []byte{'{'}) >= MaxDepth
}
