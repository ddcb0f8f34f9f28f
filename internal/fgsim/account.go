package fgsim

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"functiongraph-ingest/internal/simulator"
)

// Account is a [Recorder] that knows every event that was posted and how it was answered, and judges what
// a consumer found at the other end. 200 is an obligation: the event must be there, once for each 200.
// Another answer, or none, leaves it open whether it is.
//
// It takes some 150 bytes of memory an event. It is safe for concurrent use.
type Account struct {
	seed maphash.Seed

	mu      sync.Mutex
	events  map[simulator.ID]*posted
	latest  map[place]simulator.ID // of each key in each partition
	verdict Verdict
}

type posted struct {
	sum     uint64
	size    int
	key     string
	of      string // the invocation that it is of; "" for none
	broken  bool
	printed bool
	acked   int // posts answered 200
	open    int // other posts
	seen    int
}

type place struct {
	key       string
	partition int32
}

// Sighting is an event that was found.
type Sighting struct {
	Key        string // under which it was found; "" for none
	Value      []byte
	Partition  int32
	Invocation string // of which the receiver says that it is; "" if it does not say
	DeadLetter bool   // found where the receiver puts what is no event
}

// Verdict is a count of events.
type Verdict struct {
	Posted, Acked, Seen int

	OwnLeftOut int // answered 200 and not found, but made of what the extension itself printed: no finding

	Named int // found with the invocation that it is of, as the receiver says: no finding

	Lost       int // answered 200 and not found
	Doubled    int // found more often than posted
	OutOfOrder int // found behind a later event of the same key in the same partition
	Altered    int // found with other bytes
	WrongKey   int // found under another key than its traceId
	WrongOwner int // found with an invocation that it is not of
	Misplaced  int // an event among the dead letters, or a broken one among the events
	Foreign    int // found and never posted, or without an id

	Details []string // of the first few findings
}

const maxDetails = 10

// NewAccount returns an empty account.
func NewAccount() *Account {
	return &Account{seed: maphash.MakeSeed(), events: map[simulator.ID]*posted{}, latest: map[place]simulator.ID{}}
}

// Posted implements [Recorder].
func (a *Account) Posted(d *simulator.Delivery, status int, _ time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range d.Events {
		e := &d.Events[i]
		p := a.events[e.ID]
		if p == nil {
			raw := d.Raw(e)
			p = &posted{sum: maphash.Bytes(a.seed, raw), size: len(raw), key: e.Key, of: e.Invocation, broken: e.Broken != simulator.Intact, printed: e.Printed}
			a.events[e.ID] = p
		}
		if status == 200 {
			p.acked++
		} else {
			p.open++
		}
	}
}

// Saw takes what a consumer found. Within a partition it must be called in the order of that partition.
func (a *Account) Saw(s Sighting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &a.verdict
	v.Seen++
	ids := simulator.AppendIDs(nil, s.Value)
	if len(ids) == 0 || a.events[ids[0]] == nil {
		a.find(&v.Foreign, "foreign", s.Value)
		return
	}
	id := ids[0]
	p := a.events[id]
	if p.seen++; p.seen > p.acked+p.open {
		a.find(&v.Doubled, "doubled", s.Value)
	}
	if p.broken != s.DeadLetter {
		a.find(&v.Misplaced, "misplaced", s.Value)
	}
	// A receiver may shorten what it cannot use.
	if shortened := s.DeadLetter && len(s.Value) < p.size; !shortened && maphash.Bytes(a.seed, s.Value) != p.sum {
		a.find(&v.Altered, "altered", s.Value)
	}
	if s.Invocation != "" {
		if v.Named++; s.Invocation != p.of {
			a.find(&v.WrongOwner, "of another invocation than "+s.Invocation, s.Value)
		}
	}
	if s.DeadLetter {
		return
	}
	if s.Key != p.key {
		a.find(&v.WrongKey, "wrong key "+s.Key, s.Value)
	}
	if p.key == "" || p.seen > 1 {
		return
	}
	at := place{p.key, s.Partition}
	if last, ok := a.latest[at]; ok && last > id {
		a.find(&v.OutOfOrder, "out of order", s.Value)
		return
	}
	a.latest[at] = id
}

func (a *Account) find(count *int, what string, value []byte) {
	*count++
	if len(a.verdict.Details) < maxDetails {
		a.verdict.Details = append(a.verdict.Details, fmt.Sprintf("%s: %.200q", what, value))
	}
}

// Events is the number of events that were answered 200: those that are good and those that are broken.
func (a *Account) Events() (good, broken int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.events {
		switch {
		case p.acked == 0:
		case p.broken:
			broken++
		default:
			good++
		}
	}
	return good, broken
}

// Verdict judges everything so far.
func (a *Account) Verdict() Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.verdict
	v.Details = append([]string{}, v.Details...)
	v.Posted = len(a.events)
	for id, p := range a.events {
		if p.acked > 0 {
			v.Acked++
		}
		switch {
		case p.seen >= p.acked:
		case p.printed:
			v.OwnLeftOut++
		default:
			v.Lost++
			if len(v.Details) < maxDetails {
				v.Details = append(v.Details, fmt.Sprintf("lost: %s, posted %d times with 200, found %d times", id, p.acked, p.seen))
			}
		}
	}
	return v
}

// Err is nil when nothing is wrong.
func (v Verdict) Err() error {
	if v.Lost+v.Doubled+v.OutOfOrder+v.Altered+v.WrongKey+v.WrongOwner+v.Misplaced+v.Foreign == 0 {
		return nil
	}
	return fmt.Errorf("%d posted, %d acked, %d seen: %d lost, %d doubled, %d out of order, %d altered, %d with a wrong key, %d of another invocation, %d misplaced, %d foreign\n%s",
		v.Posted, v.Acked, v.Seen, v.Lost, v.Doubled, v.OutOfOrder, v.Altered, v.WrongKey, v.WrongOwner, v.Misplaced, v.Foreign, strings.Join(v.Details, "\n"))
}
