package decode

import (
	"errors"
	"fmt"
	"time"
)

// span is a piece of the body. A field's value never starts at offset 0 (a brace and a key stand
// before it), so the zero span means absent.
type span struct{ s, e uint32 }

// Event is one element of a body, or one region of it that is no good element. It is a set of offsets
// into the body, 96 bytes, made to be reused: Next overwrites it.
//
// Everything it returns as []byte is a view into the body that was given to Reset (Key and AppendLogs
// say when not), with its capacity clipped: it is valid as long as the body is, and must not be written to.
type Event struct {
	body   []byte
	at     [numFields]span // by field; other, whose value is never asked for, is the whole element
	errOff uint32

	Kind   Kind   // Unknown also for a bad region
	Reason Reason // OK: a good event; else Raw is a bad region
}

// Raw is the element byte for byte, or the bad region. It is never empty.
func (e *Event) Raw() []byte {
	if e.Reason == TooLarge {
		return e.body
	}
	return e.body[e.at[raw].s:e.at[raw].e:e.at[raw].e]
}

// Offset is where Raw starts in the body.
func (e *Event) Offset() int { return int(e.at[raw].s) }

// ErrorOffset is the offset in the body of the exact byte that is wrong. It lies in Raw, or right behind it
// when something is missing there. -1 for a good event.
func (e *Event) ErrorOffset() int {
	if e.Reason == OK {
		return -1
	}
	return int(e.errOff)
}

func (e *Event) text(f field) []byte {
	s := e.at[f]
	if s.s == 0 {
		return nil
	}
	return trim(e.body[s.s:s.e:s.e])
}

// Name is the content of `name`, still escaped, trimmed; nil when absent or not a string.
func (e *Event) Name() []byte { return e.text(fieldName) }

// TraceID is the content of `traceId`, still escaped, trimmed; nil when absent or not a string.
func (e *Event) TraceID() []byte { return e.text(fieldTrace) }

// StartTime is the content of `startTime`, still escaped, trimmed; nil when absent or not a string.
func (e *Event) StartTime() []byte { return e.text(fieldStart) }

// EndTime is the content of `endTime`, still escaped, trimmed; nil when absent or not a string.
func (e *Event) EndTime() []byte { return e.text(fieldEnd) }

// Status is the content of `status`, still escaped, trimmed; nil when absent or not a string.
func (e *Event) Status() []byte { return e.text(fieldStatus) }

// Logs is the content of `logs`, still escaped, trimmed; nil when absent or not a string.
func (e *Event) Logs() []byte { return e.text(fieldLogs) }

// RawMetrics is the value of `metrics` or `reportMetrics`, whatever it is; nil when absent.
func (e *Event) RawMetrics() []byte { return e.text(fieldMetrics) }

// Key is the Kafka key: the traceId, unescaped and trimmed; nil when it is absent, empty or not a
// string. Without escapes it is a view into the body; else it is built in dst[:0], which the caller
// owns. A traceId with an illegal escape (possible in lenient mode only) is taken as it stands.
//
// The key of a bad region is the only traceId that can be read in it, wherever it stands; nil when there is none, or
// two that differ.
func (e *Event) Key(dst []byte) []byte {
	id := e.TraceID()
	if e.Reason != OK {
		id = onlyText(e.Raw(), "traceId", true)
	}
	if len(id) == 0 {
		return nil
	}
	if hasEscape(id) {
		if u, bad := unescape(dst[:0], id); bad < 0 {
			if id = trim(u); len(id) == 0 {
				return nil
			}
		}
	}
	return id
}

// boundTraceID makes an event with a traceId of more than MaxTraceID bytes a bad region.
func (e *Event) boundTraceID() {
	if e.Reason == OK && len(e.Key(nil)) > MaxTraceID {
		e.Reason, e.errOff = LongTraceID, e.at[fieldTrace].s
	}
}

// maxSalvaged bounds the key of a bad region. A usual traceId has 36 bytes.
const maxSalvaged = 1 << 10

// AppendLogs appends `logs` to dst, unescaped and not trimmed: exactly what the function printed. A
// lone surrogate becomes U+FFFD. The error names an illegal escape (possible in lenient mode only);
// dst is then returned as it came.
func (e *Event) AppendLogs(dst []byte) ([]byte, error) {
	logs := e.at[fieldLogs]
	if logs.s == 0 {
		return dst, nil
	}
	u, bad := unescape(dst, e.body[logs.s:logs.e])
	if bad >= 0 {
		return dst, fmt.Errorf("decode: illegal escape in logs at offset %d of the body", int(logs.s)+bad)
	}
	return u, nil
}

// ErrAbsent is returned by Start, End and Metrics when the event has no such field.
var ErrAbsent = errors.New("decode: the event has no such field")

// Start is the startTime as a time. The platform writes RFC 3339 in UTC with milliseconds; any RFC
// 3339 time is taken, with blanks around it.
func (e *Event) Start() (time.Time, error) { return parseTime(e.StartTime()) }

// End is the endTime as a time, by the rules of Start.
func (e *Event) End() (time.Time, error) { return parseTime(e.EndTime()) }

func parseTime(b []byte) (t time.Time, err error) {
	if len(b) == 0 {
		return t, ErrAbsent
	}
	var buf [maxFold]byte
	err = t.UnmarshalText(trim(plain(b, buf[:0])))
	return t, err
}
