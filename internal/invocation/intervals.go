package invocation

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxIntervals bounds the memory, at about 170 bytes each: the 1,000 invocations that an instance serves at once, and
	// as many that have ended, whose last lines may still come.
	maxIntervals = 2048
	// maxID is the longest id that a record's header repeats. A usual one has 36 bytes.
	maxID = 128
	// longest is how long an invocation may take where the function's own limit is not known: the platform's quota.
	longest = 259_200 * time.Second
	// maxAhead bounds what platform.start is believed: it says when an invocation began that was announced before.
	maxAhead = time.Second
)

// Intervals knows when invocations began and ended, and so to which of them a log line without a traceId belongs. It
// never guesses: an invocation is named only when no other one can have written the line.
//
// The platform announces an invocation and waits for the answer before the function starts. So an invocation is known
// before its first line, and is taken for open until the platform says that it has ended. An interval is never too
// short: until platform.report tells its end, it ends when platform.runtimeDone was received, which is later.
//
// Times are milliseconds since the Unix epoch by the platform's clock, which is this machine's. When that clock is set
// back, a time may stand for two moments: nothing is certain up to the latest time that it has shown. All methods are
// safe for concurrent use.
type Intervals struct {
	seed    maphash.Seed
	limit   int64         // no invocation takes longer
	clock   func() int64  // the machine's; tests replace it
	changes atomic.Uint64 // of what At says
	cold    atomic.Pointer[[]byte]

	mu          sync.Mutex
	byID        map[uint64]*interval
	list        []*interval // in the order in which they became known
	begins      []int64     // of list, sorted
	ends        []int64     // of those that have ended, sorted
	oldest      int64       // no open one began earlier
	forgotten   int64       // the latest end of those that were left out since: nothing is certain up to it
	unannounced int         // of list
	overflowed  bool        // more were open than are kept: nothing is certain any more
	shown       int64       // the latest time that the clock has shown
	setBack     int64       // nothing is certain up to it: the clock has shown it and was set back
	nameless    [2]int64    // nothing is certain from the first to the second, because an announcement named no invocation; 0: there was none

	first  *interval // the first one of this process
	initAt int64     // when the platform began to initialise the instance; 0: it has not said so
}

// interval is one invocation's.
type interval struct {
	hash       uint64
	id         []byte // never written to; nil: too long
	begin, end int64
	ended      bool
	announced  bool
	began      bool  // platform.start has come: begin is what it says
	reported   bool  // platform.report has come: end is what it says
	again      int64 // when it was announced once more after its end, as a retry may be; 0: it was not
}

// latest is when it began, or was announced once more.
func (i *interval) latest() int64 { return max(i.begin, i.again) }

// NewIntervals returns an empty set. limit is how long an invocation may take at most; 0: not known.
func NewIntervals(limit time.Duration) *Intervals {
	if limit <= 0 {
		limit = longest
	}
	return &Intervals{
		seed: maphash.MakeSeed(), limit: limit.Milliseconds(), clock: func() int64 { return time.Now().UnixMilli() },
		byID: map[uint64]*interval{}, forgotten: math.MinInt64, setBack: math.MinInt64,
	}
}

// watchLocked looks whether the clock was set back.
func (v *Intervals) watchLocked() {
	now := v.clock()
	if now < v.shown {
		v.setBack = max(v.setBack, v.shown)
		v.changes.Add(1)
	}
	v.shown = now
}

// Announce opens the invocation id at now: the platform has said that it invokes the function. Without an id no line is
// certain for as long as an invocation may take. An id that was announced before and has ended is open again, and named
// no more: a line between its two runs could not be told from theirs.
func (v *Intervals) Announce(id []byte, now int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watchLocked()
	v.expireLocked(now)
	if len(id) == 0 {
		if v.nameless[1] == 0 {
			v.nameless[0] = now
		}
		v.nameless[1] = now + v.limit
		v.changes.Add(1)
		return
	}
	i := v.byID[maphash.Bytes(v.seed, id)]
	if i == nil {
		if i = v.addLocked(id, now); i == nil {
			return
		}
		if v.first == nil {
			v.first = i
			v.coldLocked()
		}
	} else if !i.announced { // this came late
		v.unannounced--
		v.changes.Add(1)
	} else if i.ended {
		v.reopenLocked(i, now)
	}
	i.announced = true
}

// Begin takes over that the invocation id began at the time at, which platform.start says.
func (v *Intervals) Begin(id []byte, at int64) {
	if len(id) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	i := v.byID[maphash.Bytes(v.seed, id)]
	switch {
	case i == nil && at <= v.forgotten: // a copy
	case i == nil:
		if i = v.addLocked(id, at); i != nil {
			i.began = true
			v.unannounced++
		}
	case !i.began && at <= i.begin+maxAhead.Milliseconds():
		i.began = true
		if i.ended {
			at = min(at, i.end)
		}
		v.begins = replace(v.begins, i.begin, at)
		i.begin = at
		v.oldest = min(v.oldest, at)
		v.changes.Add(1)
		v.coldLocked()
	}
}

// End closes the invocation id at the time at, when its end became known.
func (v *Intervals) End(id []byte, at int64) { v.close(id, at, at, false) }

// Report closes the invocation id at its end, which platform.report says and which has the last word. at is when that
// became known, and counts in place of an end before the beginning.
func (v *Intervals) Report(id []byte, end, at int64) { v.close(id, end, at, true) }

func (v *Intervals) close(id []byte, at, known int64, reported bool) {
	if len(id) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	i := v.byID[maphash.Bytes(v.seed, id)]
	if i == nil {
		if at <= v.forgotten {
			return
		}
		if i = v.addLocked(id, math.MinInt64); i == nil { // it may have begun at any time
			return
		}
		i.began = true
		v.unannounced++
	}
	if i.again != 0 && (!reported || at < i.again) { // perhaps the end of the run before
		return
	}
	if reported && at < i.begin {
		at, reported = known, false
	}
	if i.reported || i.ended && !reported {
		return
	}
	i.reported = reported
	v.endLocked(i, max(at, i.begin))
}

// Init takes over that the platform began to initialise the instance at the time at.
func (v *Intervals) Init(at int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.initAt == 0 || at < v.initAt {
		v.initAt = at
		v.coldLocked()
	}
}

// Cold returns the id of the invocation for which the instance was started: the first one of this process, when the
// platform has told of an initialisation before it. nil: there is none. It must not be written to.
func (v *Intervals) Cold() []byte {
	if id := v.cold.Load(); id != nil {
		return *id
	}
	return nil
}

// Changes is raised whenever At may say something else about the same time.
func (v *Intervals) Changes() uint64 { return v.changes.Load() }

// At returns how many invocations were open at the time at, and the id of the only one; nil: there is none, there are
// others, or there may be others. The id must not be written to.
func (v *Intervals) At(at int64) (open int, only []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watchLocked()
	begun, _ := slices.BinarySearch(v.begins, at+1)
	ended, _ := slices.BinarySearch(v.ends, at)
	open = begun - ended
	if open != 1 || !v.certainLocked(at) {
		return open, nil
	}
	for _, i := range slices.Backward(v.list) {
		if i.begin <= at && (!i.ended || at <= i.end) {
			if i.again != 0 {
				return 1, nil
			}
			return 1, i.id
		}
	}
	return open, nil // the sorted times and the list differ: nothing is certain
}

// certainLocked reports whether all invocations of the time at are known.
func (v *Intervals) certainLocked(at int64) bool {
	nameless := v.nameless[1] != 0 && at >= v.nameless[0] && at <= v.nameless[1]
	return !v.overflowed && v.unannounced == 0 && at > max(v.forgotten, v.setBack) && !nameless
}

// addLocked makes room for an invocation and opens it. nil: there is no room, and from now on nothing is certain.
func (v *Intervals) addLocked(id []byte, begin int64) *interval {
	v.changes.Add(1)
	if len(v.list) >= maxIntervals && !v.forgetLocked() {
		v.overflowed = true
		return nil
	}
	i := &interval{hash: maphash.Bytes(v.seed, id), begin: begin}
	if len(id) <= maxID {
		i.id = bytes.Clone(id)
	}
	if len(v.begins) == len(v.ends) || begin < v.oldest {
		v.oldest = begin
	}
	v.byID[i.hash] = i
	v.list = append(v.list, i)
	v.begins = insert(v.begins, begin)
	return i
}

func (v *Intervals) endLocked(i *interval, at int64) {
	if i.ended {
		v.ends = replace(v.ends, i.end, at)
	} else {
		v.ends = insert(v.ends, at)
	}
	i.ended, i.end = true, at
	v.changes.Add(1)
}

// reopenLocked opens what has ended once more.
func (v *Intervals) reopenLocked(i *interval, now int64) {
	at, _ := slices.BinarySearch(v.ends, i.end)
	v.ends = slices.Delete(v.ends, at, at+1)
	i.ended, i.reported, i.again = false, false, now
	v.oldest = min(v.oldest, i.latest())
	v.changes.Add(1)
}

// expireLocked ends what cannot run any more, because its end was lost.
func (v *Intervals) expireLocked(now int64) {
	old := now - v.limit
	if len(v.begins) == len(v.ends) || v.oldest > old {
		return
	}
	v.oldest = now
	for _, i := range v.list {
		switch {
		case i.ended:
		case i.latest() <= old:
			v.endLocked(i, i.latest()+v.limit)
		default:
			v.oldest = min(v.oldest, i.latest())
		}
	}
}

// forgetLocked leaves out the quarter of the ended invocations that ended first; false: none has ended.
func (v *Intervals) forgetLocked() bool {
	if len(v.ends) == 0 {
		return false
	}
	last := v.ends[len(v.ends)/4]
	v.forgotten = max(v.forgotten, last)
	v.begins, v.ends = v.begins[:0], v.ends[:0]
	v.list = slices.DeleteFunc(v.list, func(i *interval) bool {
		if i.ended && i.end <= last {
			delete(v.byID, i.hash)
			if !i.announced {
				v.unannounced--
			}
			return true
		}
		v.begins = append(v.begins, i.begin)
		if i.ended {
			v.ends = append(v.ends, i.end)
		}
		return false
	})
	slices.Sort(v.begins)
	slices.Sort(v.ends)
	return true
}

// coldLocked looks whether the first invocation is known, and that the instance was initialised before it.
func (v *Intervals) coldLocked() {
	if i := v.first; i != nil && i.id != nil && v.initAt != 0 && v.initAt <= i.begin && v.cold.Load() == nil {
		v.cold.Store(&i.id)
	}
}

// insert adds t to a sorted list. Most times are the latest.
func insert(list []int64, t int64) []int64 {
	at, _ := slices.BinarySearch(list, t)
	return slices.Insert(list, at, t)
}

func replace(list []int64, was, is int64) []int64 {
	at, _ := slices.BinarySearch(list, was)
	return insert(slices.Delete(list, at, at+1), is)
}
