package decode

import (
	"errors"
	"fmt"
	"strconv"
)

// Metrics is what a report carries. A value that is absent in the event is zero.
type Metrics struct {
	DurationMs        float64 // durationMs: duration of the invocation in milliseconds
	BillingDurationMs float64 // billingDurationMS: billed duration in milliseconds
	MemoryUsed        float64 // memoryUsed, in MB
	MemorySize        int64   // memorySize, in MB
	PodName           string  // podName
}

// Metrics reads `metrics` (or `reportMetrics`) into m: keys are trimmed and compared without regard to
// case, unknown ones are passed over. ErrAbsent when the event has none. After any other error m holds
// what could be read. It allocates only for a pod name that differs from the one m holds already.
func (e *Event) Metrics(m *Metrics) error {
	pod := m.PodName
	*m = Metrics{}
	at := e.at[fieldMetrics]
	if at.s == 0 {
		return ErrAbsent
	}
	b := e.body[:at.e]
	p := int(at.s)
	if b[p] != '{' {
		return fmt.Errorf("decode: metrics at offset %d of the body is not an object", p)
	}
	var errs error
	p = blanks(b, p+1)
	for b[p] != '}' { // the element is known to be well formed
		q := lenientString(b, p+1)
		key := b[p+1 : q-1]
		p = blanks(b, blanks(b, q)+1)
		q, _, _ = validate(b, p, MaxDepth, true)
		if err := m.set(key, b[p:q], pod); err != nil {
			errs = errors.Join(errs, fmt.Errorf("decode: metrics at offset %d of the body: %w", p, err))
		}
		if p = blanks(b, q); b[p] == ',' {
			p = blanks(b, p+1)
		}
	}
	return errs
}

func (m *Metrics) set(key, value []byte, pod string) (err error) {
	var buf [maxFold]byte
	key = trim(plain(key, buf[:0]))
	switch {
	case equalFold(key, "durationMs"):
		m.DurationMs, err = strconv.ParseFloat(string(value), 64)
	case equalFold(key, "billingDurationMS"):
		m.BillingDurationMs, err = strconv.ParseFloat(string(value), 64)
	case equalFold(key, "memoryUsed"):
		m.MemoryUsed, err = strconv.ParseFloat(string(value), 64)
	case equalFold(key, "memorySize"):
		m.MemorySize, err = wholeNumber(value)
	case equalFold(key, "podName"):
		m.PodName, err = podName(value, pod)
	}
	return err
}

// wholeNumber also takes 128.0 and 1e3.
func wholeNumber(value []byte) (int64, error) {
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err == nil && (f != float64(int64(f)) || f >= 1<<63 || f < -1<<63) {
		err = fmt.Errorf("%s is not a whole number", value)
	}
	if err != nil {
		return 0, err
	}
	return int64(f), nil
}

func podName(value []byte, old string) (string, error) {
	if value[0] != '"' {
		return "", fmt.Errorf("podName is not a string")
	}
	name := trim(value[1 : len(value)-1])
	if hasEscape(name) {
		if u, bad := unescape(nil, name); bad < 0 {
			name = trim(u)
		}
	}
	if string(name) == old {
		return old, nil
	}
	return string(name), nil
}
