package pipeline

import (
	"bytes"
	"math"
	"strconv"

	"functiongraph-ingest/pkg/decode"
	"functiongraph-ingest/pkg/sink"
)

// Headers that say to which invocation a record belongs. A line of a function's log without a traceId has one of the
// first two.
const (
	// HeaderTrace is the traceId of the only invocation that was open when the line was written.
	HeaderTrace = "ingest-trace"
	// HeaderOpen is how many invocations were open then, if it is not certain which of them wrote the line.
	HeaderOpen = "ingest-trace-open"
	// HeaderColdStart is on the records of the invocation for which the instance was started, with the value true.
	HeaderColdStart = "ingest-cold-start"
)

// lineAhead is how far the time of a line may lie behind its admission, in milliseconds: two processes' clocks may be read
// in another order than the line came.
const lineAhead = 1000

// correlated is the memory of the headers of one record.
type correlated struct {
	headers [2]sink.Header
	digits  [20]byte
}

// recall is the last answer of invocation.Intervals.At, which holds for many lines in a row.
type recall struct {
	changes uint64
	at      int64
	open    int
	only    []byte
}

// correlate returns the headers that say to which invocation the event at hand belongs. They are valid until the
// record with the number dec.n is appended. The caller has intervals.
func (dec *decoder) correlate(admitted int64) []sink.Header {
	v := dec.p.intervals
	c := &dec.correlated[dec.n]
	h := c.headers[:0]
	id := dec.e.TraceID()
	if len(id) > 0 {
		id = dec.e.Key(nil)
	} else if dec.e.Kind == decode.Function {
		var open int
		open, id = dec.openAt(admitted)
		if id != nil {
			h = append(h, sink.Header{Key: HeaderTrace, Value: id})
		} else {
			h = append(h, sink.Header{Key: HeaderOpen, Value: strconv.AppendInt(c.digits[:0], int64(open), 10)})
		}
	}
	if cold := v.Cold(); len(id) > 0 && bytes.Equal(id, cold) {
		h = append(h, sink.Header{Key: HeaderColdStart, Value: dec.yes[:]})
	}
	return h
}

// openAt asks which invocations were open when the line at hand was written. Without a time, or with one that lies in
// the future and so cannot be right, it may be of any of those that were open when it came.
func (dec *decoder) openAt(admitted int64) (open int, only []byte) {
	at, ok := dec.clock.start(&dec.e)
	if !ok || at > admitted+lineAhead {
		open, _ = dec.p.intervals.At(admitted)
		return open, nil
	}
	r := &dec.recall
	if changes := dec.p.intervals.Changes(); at != r.at || changes != r.changes {
		r.at, r.changes = at, changes // read before At, so an answer is never older than it says
		r.open, r.only = dec.p.intervals.At(at)
	}
	return r.open, r.only
}

// note tells the intervals what the platform says about an invocation or the instance.
func (dec *decoder) note(admitted int64) {
	v := dec.p.intervals
	if v == nil {
		return
	}
	start, ok := dec.clock.start(&dec.e)
	switch dec.e.Kind {
	case decode.Start:
		if ok {
			v.Begin(dec.e.Key(nil), start)
		} else {
			v.Begin(dec.e.Key(nil), admitted)
		}
	case decode.RuntimeDone: // its startTime may be that of the invocation
		v.End(dec.e.Key(nil), max(start, admitted))
	case decode.Report:
		if end, err := dec.e.End(); err == nil {
			v.Report(dec.e.Key(nil), end.UnixMilli(), max(start, admitted))
		} else {
			v.End(dec.e.Key(nil), max(start, admitted))
		}
	case decode.InitStart, decode.InitRuntimeDone, decode.InitReport:
		if !ok {
			start = admitted
		}
		v.Init(start)
	}
}

// clock reads the times of events, most of which lie in the minute of the one before.
type clock struct {
	minute [minuteLen]byte // as the platform writes it
	base   int64           // its beginning, in milliseconds since the Unix epoch
}

const (
	timeLayout = "2006-01-02T15:04:05.000Z"
	minuteLen  = len("2006-01-02T15:04:")
	// minTime is the length of the shortest time in RFC 3339.
	minTime = len("2006-01-02T15:04:05Z")
)

// start is the startTime of e in milliseconds since the Unix epoch; false: it has none that can be read. Then it is
// less than any time.
func (c *clock) start(e *decode.Event) (ms int64, ok bool) {
	text := e.StartTime()
	rest, usual := millis(text)
	if usual && string(text[:minuteLen]) == string(c.minute[:]) {
		return c.base + rest, true
	}
	if len(text) < minTime {
		return math.MinInt64, false
	}
	t, err := e.Start()
	if err != nil {
		return math.MinInt64, false
	}
	ms = t.UnixMilli()
	if usual {
		copy(c.minute[:], text)
		c.base = ms - rest
	}
	return ms, true
}

// millis are those since the beginning of the minute in a time of timeLayout; false: it is written differently.
func millis(text []byte) (ms int64, ok bool) {
	if len(text) != len(timeLayout) || text[minuteLen+2] != '.' || text[minuteLen+6] != 'Z' {
		return 0, false
	}
	for _, i := range [...]int{0, 1, 3, 4, 5} {
		d := text[minuteLen+i] - '0'
		if d > 9 {
			return 0, false
		}
		ms = 10*ms + int64(d)
	}
	return ms, ms < 60_000
}
