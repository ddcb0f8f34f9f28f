package audit

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Report judges what was read.
func (a *Audit) Report() *Report {
	r := &Report{Records: a.records, Unnumbered: a.foreign, Partial: a.partial, Complete: true}
	list := make([]*sequence, 0, len(a.starts))
	latest := map[string]time.Time{} // when the last starts of instances began
	r.Gone = a.gone
	for _, s := range a.starts {
		if a.younger(s.First.UnixMilli()) {
			continue
		}
		list = append(list, s)
		if s.began().After(latest[s.Instance]) {
			latest[s.Instance] = s.began()
		}
	}
	slices.SortFunc(list, func(x, y *sequence) int { return cmp.Or(x.began().Compare(y.began()), cmp.Compare(x.ID, y.ID)) })
	spare := map[string]int64{} // losses that later starts of an instance tell of, beyond their own
	for _, s := range slices.Backward(list) {
		s.judge(a, s.Instance != "" && latest[s.Instance].After(s.began()), spare)
	}
	proven := false
	for _, s := range list {
		r.Starts = append(r.Starts, s.Start)
		r.Complete = r.Complete && s.Complete
		proven = proven || s.Proven > s.From
	}
	r.Complete = r.Complete && proven
	return r
}

// began is the time that orders starts: that of the earliest mark, because records may have the times of their events
// (--timestamp=event), which say nothing of when the process ran. Without a mark it is the oldest timestamp.
func (s *sequence) began() time.Time {
	if s.marked.IsZero() {
		return s.First
	}
	return s.marked
}

func (s *sequence) judge(a *Audit, succeeded bool, spare map[string]int64) {
	if a.partial {
		s.From = s.begin()
	}
	end := s.Numbers
	switch {
	case s.final:
		s.State, s.Proven = Closed, s.Numbers
	case s.goesOn():
		end = max(s.safe, s.after)
		s.State, s.Proven = Continued, end
	case succeeded:
		s.State, s.Proven, end = Killed, s.safe, s.safe
	default:
		s.State, s.Proven, end = Open, s.safe, s.safe
	}
	if len(a.cuts) > 0 {
		end = s.within(a.cuts, end)
	}
	s.From = min(s.From, s.Numbers)
	if end > s.From {
		s.Missing = end - s.From - s.seen.count(s.From, end)
		s.Gaps = s.seen.gaps(s.From, end, maxExamples)
	}
	low := max(end, s.From)
	s.Unproven = s.Numbers - low - s.seen.count(low, s.Numbers)
	// A dropped or set aside event has a number that is nowhere, except in the notice of it. A process also drops what an
	// earlier one has left on disk.
	told := max(0, s.told-s.notices) + spare[s.Instance]
	s.Lost = min(s.Missing, told)
	spare[s.Instance] = told - s.Lost
	s.Missing -= s.Lost
	s.SetAside = min(s.SetAside, s.Lost+s.notices)
	s.Lost = max(0, s.Lost-s.SetAside)
	s.Complete = s.Missing == 0 && s.Lost == 0 && s.Doubled == 0 && s.Disordered == 0 && s.State != Open && (s.Proven > 0 || s.State == Continued)
}

// goesOn reports whether a mark from after --until proves that nothing before that time is missing.
func (s *sequence) goesOn() bool {
	return s.after >= 0 && (s.after <= s.safe || s.seen.count(s.safe, s.after) == s.after-s.safe)
}

// within narrows what must be there, up to end, to what lies between the numbers with which the partitions begin and end
// of which only a range was read, and returns the new end.
func (s *sequence) within(cuts map[place]cut, end int64) int64 {
	if s.State == Open && slices.ContainsFunc(slices.Collect(maps.Values(cuts)), func(c cut) bool { return c.tail }) {
		s.State, end = Continued, s.Numbers
	}
	for at, c := range cuts {
		last, known := s.last[at]
		if !known {
			last = -1 // its numbers may all be outside
		}
		if c.head {
			s.From = max(s.From, s.head[at])
		}
		if c.tail || c.head && !known {
			end = min(end, last+1)
		}
	}
	s.Proven = min(s.Proven, end)
	if s.State == Continued {
		s.Proven = end
	}
	return end
}

// begin is the first number that must be there when the beginning of the topic was not read: what comes after the first
// mark, or, without one, after every partition has begun.
func (s *sequence) begin() int64 {
	if s.seen.has(0) {
		return 0
	}
	if s.firstOf >= 0 {
		return s.firstOf
	}
	var low int64
	for _, n := range s.head {
		low = max(low, n)
	}
	return low
}
