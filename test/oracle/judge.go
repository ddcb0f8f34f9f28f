package oracle

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"strings"
)

// Report is the oracle's judgement. All numbers are events unless they say otherwise.
type Report struct {
	Sent    int // posted at least once
	Acked   int // answered 200
	Refused int // only ever refused
	Open    int // sent, not acked, and not only refused

	Delivered int // records read
	Repeated  int // delivered more than once, each time for a post whose outcome was open

	Lost             int // acked and not there
	Doubled          int // delivered more often than the posts that may have been taken
	OutOfOrder       int // acked, and behind a later event of their key in their partition
	OpenOutOfOrder   int // the same for events whose outcome was open
	RefusedDelivered int // refused, and there all the same
	Damaged          int // known by their id, but the bytes differ
	Foreign          int // records that no one posted
	WrongKey         int // records whose key is not their traceId
	SplitKeys        int // keys found in more than one partition

	Details []string // of the first few findings
}

const maxDetails = 10

// Faults is the number of findings that no mode allows: everything from Lost to WrongKey, except
// OpenOutOfOrder.
func (r *Report) Faults() int {
	return r.Lost + r.Doubled + r.OutOfOrder + r.RefusedDelivered + r.Damaged + r.Foreign + r.WrongKey
}

// Err is nil when there are no faults and no split keys.
func (r *Report) Err() error {
	if r.Faults()+r.SplitKeys == 0 {
		return nil
	}
	return fmt.Errorf("%s\n%s", r, strings.Join(r.Details, "\n"))
}

// String is the judgement in one line.
func (r *Report) String() string {
	return fmt.Sprintf("%d sent, %d acked, %d refused, %d open, %d delivered: %d lost, %d doubled, %d out of order (%d open), "+
		"%d refused but delivered, %d damaged, %d foreign, %d with a wrong key, %d keys split, %d repeated",
		r.Sent, r.Acked, r.Refused, r.Open, r.Delivered, r.Lost, r.Doubled, r.OutOfOrder, r.OpenOutOfOrder,
		r.RefusedDelivered, r.Damaged, r.Foreign, r.WrongKey, r.SplitKeys, r.Repeated)
}

// Judge compares what was posted with what a consumer read.
type Judge struct {
	oracle *Oracle
	events []known // by id
	places map[place]uint32
	homes  map[keyID]int // partition of each key; -1 when it has several
	report Report
}

// known is one event as it was posted, and how often it was read.
type known struct {
	event
	conn int
	body *body
	read int
}

type keyID struct {
	conn int
	key  uint32
}

type place struct {
	keyID
	partition int
}

// Judge returns a judge of everything recorded so far.
func (o *Oracle) Judge() *Judge {
	j := &Judge{oracle: o, places: map[place]uint32{}, homes: map[keyID]int{}}
	j.events = make([]known, o.next.Load())
	for i := range o.conns {
		bodies := o.conns[i].bodies
		for b := range bodies {
			for k, e := range bodies[b].events {
				j.events[bodies[b].firstID+uint64(k)] = known{event: e, conn: i, body: &bodies[b]}
			}
		}
	}
	return j
}

// Message takes one record. The records of a partition must come in their order. It keeps neither key
// nor value.
func (j *Judge) Message(partition int, key, value []byte) {
	j.report.Delivered++
	id, ok := digits(value, `"id":"`)
	if !ok || id >= uint64(len(j.events)) || j.events[id].body == nil || !j.events[id].body.sent() {
		j.note(&j.report.Foreign, "foreign record in partition %d: %.300q", partition, value)
		return
	}
	e := &j.events[id]
	if maphash.Bytes(j.oracle.seed, value) != e.hash {
		j.note(&j.report.Damaged, "event %d is damaged: %.300q", id, value)
	}
	if trace, _ := text(value, `"traceId":"`); !bytes.Equal(trace, key) {
		j.note(&j.report.WrongKey, "event %d has the key %.100q, its traceId is %.100q", id, key, trace)
	}
	e.read++
	allowed := e.body.allowed()
	switch {
	case allowed == 0:
		j.note(&j.report.RefusedDelivered, "event %d was refused and is there", id)
	case e.read > allowed:
		j.note(&j.report.Doubled, "event %d (connection %d key %d seq %d) is there %d times, allowed are %d",
			id, e.conn, e.key, e.seq, e.read, allowed)
	case e.read > 1:
		j.report.Repeated++
	}
	if e.read == 1 { // repeats have no place in the order
		j.order(id, e, partition)
	}
}

func (j *Judge) order(id uint64, e *known, partition int) {
	k := keyID{e.conn, e.key}
	if home, found := j.homes[k]; !found {
		j.homes[k] = partition
	} else if home != partition && home >= 0 {
		j.homes[k] = -1
		j.note(&j.report.SplitKeys, "key %d of connection %d is in the partitions %d and %d", e.key, e.conn, home, partition)
	}
	p := place{k, partition}
	highest, seen := j.places[p]
	if seen && e.seq < highest {
		count := &j.report.OutOfOrder
		if !e.body.acked {
			count = &j.report.OpenOutOfOrder
		}
		j.note(count, "event %d (connection %d key %d) has seq %d and comes after %d", id, e.conn, e.key, e.seq, highest)
		return
	}
	j.places[p] = e.seq
}

func (j *Judge) note(count *int, format string, args ...any) {
	*count++
	if len(j.report.Details) < maxDetails {
		j.report.Details = append(j.report.Details, fmt.Sprintf(format, args...))
	}
}

// Report ends the judgement: what has not come by now is lost. It must be called once.
func (j *Judge) Report() *Report {
	r := &j.report
	for id := range j.events {
		e := &j.events[id]
		if e.body == nil || !e.body.sent() {
			continue
		}
		r.Sent++
		switch {
		case e.body.acked:
			r.Acked++
			if e.read == 0 {
				j.note(&r.Lost, "event %d (connection %d key %d seq %d) was acked and is not there", id, e.conn, e.key, e.seq)
			}
		case e.body.open > 0:
			r.Open++
		default:
			r.Refused++
		}
	}
	return r
}

// text returns what stands between name and the next quote.
func text(value []byte, name string) ([]byte, bool) {
	_, after, ok := bytes.Cut(value, []byte(name))
	if !ok {
		return nil, false
	}
	before, _, ok := bytes.Cut(after, []byte{'"'})
	return before, ok
}

func digits(value []byte, name string) (uint64, bool) {
	b, ok := text(value, name)
	if !ok || len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
