// Package audit proves from the records of a topic that nothing is missing: each event has a number of a dense sequence
// (ingest-seq), one sequence for each start of a process, and marks state how far it went.
//
// Memory grows with the number of starts, and for each with what of it is not dense: see set. It is bounded, whatever a
// topic holds: see ErrTooMuch.
package audit

import (
	"errors"
	"time"

	"functiongraph-ingest/pkg/sink/kafka"
)

// State says how a sequence ended.
type State string

const (
	// Closed: its last mark says that there are no more numbers.
	Closed State = "closed"
	// Killed: it has no last mark, and a later start of the same instance is in the topic.
	Killed State = "killed"
	// Open: it has no last mark, and nothing says that it has ended. It may be running, or the topic's tail is cut off.
	Open State = "open"
	// Continued: it has no last mark, because it goes on behind the range that was asked for.
	Continued State = "continued"
)

// Start is what the topic has of one start of a process. Numbers are half-open ranges.
type Start struct {
	ID       string    `json:"start"`
	Instance string    `json:"instance"`
	First    time.Time `json:"first"` // oldest timestamp
	Last     time.Time `json:"last"`
	State    State     `json:"state"`

	From         int64 `json:"from"`         // the first number that must be there
	Proven       int64 `json:"proven"`       // up to here a mark says what must be there
	Numbers      int64 `json:"numbers"`      // behind the highest that was seen or told of
	Delivered    int64 `json:"delivered"`    // different numbers in the topic
	DeadLettered int64 `json:"deadLettered"` // in the dead-letter topic
	SetAside     int64 `json:"setAside"`     // told by marks: whole in a file
	Lost         int64 `json:"lost"`         // missing numbers that marks tell of as dropped
	Missing      int64 `json:"missing"`      // without any account
	Unproven     int64 `json:"unproven"`     // not there from Proven on: they were in memory when it ended
	Doubled      int64 `json:"doubled"`
	Disordered   int64 `json:"disordered"` // behind a higher number of the same partition

	Gaps     [][2]int64 `json:"gaps,omitempty"` // the first of what is missing or lost
	Examples []Example  `json:"examples,omitempty"`
	Complete bool       `json:"complete"`
}

// Example is a record that is doubled or out of order.
type Example struct {
	What      string `json:"what"` // doubled, disordered
	Number    int64  `json:"number"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Report is the result.
type Report struct {
	Starts     []Start `json:"starts"`
	Records    int64   `json:"records"`
	Unnumbered int64   `json:"unnumbered"` // records of others, or of a time without --headers
	Partial    bool    `json:"partial"`    // the beginning of the topic was not read, or is gone
	// Gone: the beginnings of partitions are gone, up to this time in one of them; later ones are all there.
	Gone     time.Time `json:"gone,omitzero"`
	Complete bool      `json:"complete"`
}

const maxExamples = 10 // of one start

// maxBytes bounds the memory of an Audit. Ten million numbers that are spread over topics and partitions take 1.5 MB, and
// next to nothing once all of them are read; foreign headers may be as sparse as they like.
const maxBytes = 256 << 20

// startBytes is what a start takes without its numbers, and placeBytes what each partition adds to it.
const (
	startBytes = 1024
	placeBytes = 256
)

// ErrTooMuch is returned when what is read would take more memory than an audit may have.
var ErrTooMuch = errors.New("the numbers of too many starts, or with too many gaps, to be held in memory: narrow it with --since and --until")

// Audit collects records, partition by partition in order of their offsets. A start may have written to several topics:
// its numbers are one sequence, and ascend within each partition of each topic.
type Audit struct {
	most    int64     // bytes that starts and numbers may take
	dead    string    // the dead-letter topic
	until   time.Time // what is younger is not asked for; zero: nothing is
	partial bool
	cuts    map[place]cut
	oldest  map[place]time.Time // timestamps of the first records
	gone    time.Time           // the latest of those of partitions whose beginning is gone; zero: none is
	starts  map[string]*sequence
	records int64
	foreign int64
}

// sequence is a start while it is read.
type sequence struct {
	Start
	seen     set
	last     map[place]int64 // the number before
	head     map[place]int64 // the first number
	notices  int64           // of events that were set aside or dropped
	final    bool
	marked   time.Time // of the earliest mark; zero: there is none
	safe     int64
	told     int64 // events that marks say were dropped or set aside
	firstOf  int64 // Numbers of the earliest mark; -1: none
	markedBy int64 // Numbers of the latest
	after    int64 // Numbers of the earliest mark behind until; -1: none
}

// cut is the range of offsets that a partition was read in: whether it has records before and behind it.
type cut struct{ head, tail bool }

type place struct {
	topic     string
	partition int32
}

// New returns an Audit of what is older than until; zero: of all. Younger records must be added too: what is older may
// stand behind them, and they say that the rest is there.
func New(deadLetterTopic string, until time.Time) *Audit {
	return &Audit{most: maxBytes, dead: deadLetterTopic, until: until, cuts: map[place]cut{}, oldest: map[place]time.Time{}, starts: map[string]*sequence{}}
}

// Partial notes that a partition was not read from its first offset on. gone: retention has removed its beginning.
func (a *Audit) Partial(topic string, partition int32, gone bool) {
	a.partial = true
	if first := a.oldest[place{topic, partition}]; gone && first.After(a.gone) {
		a.gone = first
	}
}

// Cut notes that a range of a partition's offsets was read, and whether it has records before and behind the range.
func (a *Audit) Cut(topic string, partition int32, head, tail bool) {
	a.cuts[place{topic, partition}] = cut{head, tail}
}

func (a *Audit) start(id string) *sequence {
	s := a.starts[id]
	if s == nil {
		s = &sequence{Start: Start{ID: id}, last: map[place]int64{}, head: map[place]int64{}, firstOf: -1, after: -1}
		a.starts[id] = s
		a.most -= startBytes + int64(len(id))
	}
	return s
}

// Add takes the next record of a topic's partition. An error is [ErrTooMuch].
func (a *Audit) Add(topic string, r *kafka.Consumed) error {
	if a.most < 0 {
		return ErrTooMuch
	}
	a.records++
	at := place{topic, r.Partition}
	if _, known := a.oldest[at]; !known {
		a.oldest[at] = r.Time()
	}
	var seq, mark []byte
	instance := ""
	truncated := false
	for i := range r.Headers {
		switch h := &r.Headers[i]; h.Key {
		case kafka.HeaderSeq, kafka.HeaderCloudEventID:
			if seq == nil {
				seq = h.Value
			}
		case kafka.HeaderMark:
			mark = h.Value
		case kafka.HeaderInstance:
			instance = string(h.Value)
		case kafka.HeaderCloudEventSource:
			instance = kafka.InstanceOf(h.Value)
		case kafka.HeaderTruncated:
			truncated = true
		}
	}
	if mark != nil {
		a.mark(r, instance)
		return nil
	}
	id, n, ok := kafka.ParseNumber(seq)
	if !ok || n > maxNumber {
		a.foreign++
		return nil
	}
	s := a.starts[string(id)]
	if s == nil {
		s = a.start(string(id))
	}
	a.note(s, r, instance)
	if topic == a.dead && truncated {
		s.notices++
	}
	before, known := s.last[at]
	held := s.seen.held
	added := s.seen.add(n)
	a.most -= s.seen.held - held
	switch {
	case !added:
		if !a.younger(r.Timestamp) {
			s.Doubled++
			s.example("doubled", n, at, r.At)
		}
	case topic == a.dead:
		s.DeadLettered++
	default:
		s.Delivered++
		if known && n < before && !a.younger(r.Timestamp) { // dead letters have no order to keep
			s.Disordered++
			s.example("disordered", n, at, r.At)
		}
	}
	if !known {
		s.head[at] = n
		a.most -= placeBytes
	}
	s.last[at] = n
	s.Numbers = max(s.Numbers, n+1)
	return nil
}

// maxNumber bounds what a foreign header makes of the memory: chunks are taken only for what is there.
const maxNumber = 1 << 50

// younger reports whether a record of the time ms is not asked for.
func (a *Audit) younger(ms int64) bool { return !a.until.IsZero() && ms >= a.until.UnixMilli() }

func (a *Audit) note(s *sequence, r *kafka.Consumed, instance string) {
	at := r.Time()
	if s.First.IsZero() || at.Before(s.First) {
		s.First = at
	}
	if at.After(s.Last) {
		s.Last = at
	}
	if s.Instance == "" {
		s.Instance = instance
		a.most -= int64(len(instance))
	}
}

func (s *sequence) example(what string, n int64, at place, offset int64) {
	if len(s.Examples) < maxExamples {
		s.Examples = append(s.Examples, Example{what, n, at.topic, at.partition, offset})
	}
}

// mark takes a statement of a process about its sequence.
func (a *Audit) mark(r *kafka.Consumed, instance string) {
	m, ok := kafka.ParseMark(r.Value)
	if !ok || m.Numbers > maxNumber {
		a.foreign++
		return
	}
	s := a.start(m.Start)
	a.note(s, r, instance)
	if at := r.Time(); s.marked.IsZero() || at.Before(s.marked) {
		s.marked = at
	}
	if a.younger(r.Timestamp) && (s.after < 0 || m.Numbers < s.after) {
		s.after = m.Numbers
	}
	if s.firstOf < 0 || m.Numbers < s.firstOf {
		s.firstOf = m.Numbers
	}
	if m.Numbers >= s.markedBy {
		s.markedBy = m.Numbers
		s.told = max(s.told, m.Lost+m.SetAside)
		s.SetAside = max(s.SetAside, m.SetAside)
	}
	s.safe = max(s.safe, m.Safe)
	s.final = s.final || m.Final
	s.Numbers = max(s.Numbers, m.Numbers)
}
