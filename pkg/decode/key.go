package decode

// field numbers the keys of an event that are looked at.
type field uint8

const (
	other field = iota
	fieldName
	fieldLogs
	fieldStatus
	fieldTrace
	fieldEnd
	fieldMetrics
	fieldStart
	numFields

	raw = other // in Event.at
)

// The first eight bytes of each key with its closing quote, as little-endian words.
const (
	word4 = 1<<40 - 1 // four letters and the quote
	word6 = 1<<56 - 1

	wName    = 'n' | 'a'<<8 | 'm'<<16 | 'e'<<24 | '"'<<32
	wLogs    = 'l' | 'o'<<8 | 'g'<<16 | 's'<<24 | '"'<<32
	wStatus  = 's' | 't'<<8 | 'a'<<16 | 't'<<24 | 'u'<<32 | 's'<<40 | '"'<<48
	wTraceID = 't' | 'r'<<8 | 'a'<<16 | 'c'<<24 | 'e'<<32 | 'I'<<40 | 'd'<<48 | '"'<<56
	wEndTime = 'e' | 'n'<<8 | 'd'<<16 | 'T'<<24 | 'i'<<32 | 'm'<<40 | 'e'<<48 | '"'<<56
	wMetrics = 'm' | 'e'<<8 | 't'<<16 | 'r'<<24 | 'i'<<32 | 'c'<<40 | 's'<<48 | '"'<<56
	wStartTi = 's' | 't'<<8 | 'a'<<16 | 'r'<<24 | 't'<<32 | 'T'<<40 | 'i'<<48 | 'm'<<56
	wReportM = 'r' | 'e'<<8 | 'p'<<16 | 'o'<<24 | 'r'<<32 | 't'<<40 | 'M'<<48 | 'e'<<56
)

// knownKey recognises a key that is spelled as documented. p is behind its opening quote, and 16
// bytes are there to be read; end is behind the closing quote, 0 when it is any other key.
func knownKey(b []byte, p int) (f field, end int) {
	x := word(b, p)
	switch {
	case x&word4 == wName:
		return fieldName, p + 5
	case x&word4 == wLogs:
		return fieldLogs, p + 5
	case x == wStartTi:
		if b[p+8] == 'e' && b[p+9] == '"' {
			return fieldStart, p + 10
		}
	case x == wTraceID:
		return fieldTrace, p + 8
	case x == wEndTime:
		return fieldEnd, p + 8
	case x&word6 == wStatus:
		return fieldStatus, p + 7
	case x == wMetrics:
		return fieldMetrics, p + 8
	case x == wReportM:
		if string(b[p+8:p+14]) == `trics"` {
			return fieldMetrics, p + 14
		}
	}
	return other, 0
}

// foldKey recognises a key by the rules for stray blanks and case. key is what stands between its
// quotes, still escaped.
func foldKey(key []byte) field {
	var buf [maxFold]byte
	key = trim(plain(key, buf[:0]))
	switch len(key) {
	case 4:
		switch {
		case equalFold(key, "name"):
			return fieldName
		case equalFold(key, "logs"):
			return fieldLogs
		}
	case 6:
		if equalFold(key, "status") {
			return fieldStatus
		}
	case 7:
		switch {
		case equalFold(key, "traceId"):
			return fieldTrace
		case equalFold(key, "endTime"):
			return fieldEnd
		case equalFold(key, "metrics"):
			return fieldMetrics
		}
	case 9:
		if equalFold(key, "startTime") {
			return fieldStart
		}
	case 13:
		if equalFold(key, "reportMetrics") {
			return fieldMetrics
		}
	}
	return other
}
