package decode

// Reason says why a region of a body is not a good event; OK for a good one.
type Reason uint8

// The reasons. The error offset of the region names the byte.
const (
	OK           Reason = iota
	BadStructure        // a comma, colon, quote or bracket is missing, or one is there that must not be
	BadString           // a raw control byte or an illegal escape in a string (strict only)
	BadValue            // not a value: a bare word, a malformed number or literal
	Truncated           // the element is cut off: by the end of the body or of the line, or by its neighbour
	NotObject           // a JSON value, but not an object
	TrailingData        // something follows the end of the array or of the object
	InvalidUTF8         // a string is not UTF-8 (strict only)
	TooDeep             // more than MaxDepth objects and arrays inside one another
	TooLarge            // the body has 4 GiB or more; Raw is all of it
	LongTraceID         // the traceId has more than MaxTraceID bytes; the error offset is its first one
	numReasons
)

// MaxTraceID bounds the traceId of a good event in bytes, unescaped. It is the record's key, so that without a bound a
// record could be twice as large as its event.
const MaxTraceID = 32 << 10

// String is one snake_case word, fit for a header and a metric label.
func (r Reason) String() string {
	switch r {
	case OK:
		return "ok"
	case BadStructure:
		return "bad_structure"
	case BadString:
		return "bad_string"
	case BadValue:
		return "bad_value"
	case Truncated:
		return "truncated"
	case NotObject:
		return "not_object"
	case TrailingData:
		return "trailing_data"
	case InvalidUTF8:
		return "invalid_utf8"
	case TooDeep:
		return "too_deep"
	case TooLarge:
		return "too_large"
	case LongTraceID:
		return "trace_id_too_long"
	}
	return "unknown"
}

// Reasons is every reason but OK, in order: for metrics that want all labels from the start.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons-1)
	for r := OK + 1; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}
