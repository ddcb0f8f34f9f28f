package kafka

import (
	"slices"
	"time"
)

// DroppedUnavailable is the reason of events whose partition could not move, and the dead-letter topic neither.
const DroppedUnavailable = "partition_unavailable"

// isStuck reports whether the lane has failed for longer than a leader takes to move, while another partition of any main
// topic was moving for as long: the cluster works, and this partition does not. All sources may wait for room, so that no
// other event is under way: then it is enough, for a lane without a leader or of dead letters, that the cluster has answered
// for that long and another partition has had a leader, and nothing to send or only dead letters to wait for. For dead
// letters a partition must have taken events before, and none with a leader and good events may fail. The unassigned lane of
// a topic that is missing counts as one partition. After a total outage all have that time to come back.
func (s *room) isStuck(l *lane, now time.Time) bool {
	grace := s.deps.stuckAfter
	if l.stuckSince.IsZero() || now.Sub(l.stuckSince) < grace {
		return false
	}
	if !s.unreachedSince.IsZero() && now.Sub(s.unreachedSince) > grace/2 {
		return false
	}
	idle, failing, took := false, false, false
	for _, t := range s.topics {
		for _, o := range t.lanes {
			took = took || !o.acked.IsZero()
			led := o.broker != nil && now.Sub(o.ledSince) >= grace && now.Sub(s.reachedSince) >= grace
			switch {
			case led && (o.heldUp() || o.refused) && (l.broker == nil || l.topic.dead):
				return true
			case !o.stuckSince.IsZero():
				failing = failing || o.broker != nil && !o.idle()
			case now.Sub(o.movingSince) >= grace && !o.acked.Before(l.stuckSince):
				return true
			case led && o.idle() && l.broker == nil:
				return true
			case led && o.idle() && l.topic.dead:
				idle = true
			}
		}
	}
	return idle && took && !failing
}

// noneMoves reports whether no partition of topic t can move while other topics can.
func (s *room) noneMoves(t *topic) bool {
	for _, l := range t.lanes {
		if !s.cannotMove(l) {
			return false
		}
	}
	return true
}

// cannotMove is isStuck for the path of every event.
func (s *room) cannotMove(l *lane) bool {
	if l.stuckSince.IsZero() {
		return false
	}
	if now := time.Now(); now.Sub(l.judged) >= judgeEvery {
		l.judged, l.stuckNow = now, s.isStuck(l, now)
	}
	return l.stuckNow
}

// deadGone reports whether the dead-letter topic takes nothing while the main topic moves, or takes nothing until
// an operator acts. To wait for it would stop the good events as well.
func (s *room) deadGone() bool {
	if s.dead.hopeless() || len(s.dead.lanes) == 0 {
		return true
	}
	return !slices.ContainsFunc(s.dead.lanes, func(l *lane) bool { return l.stuckSince.IsZero() }) && s.deadStuck()
}

// deadStuck reports whether a partition of the dead-letter topic cannot move. Others that fail then are not waited for.
func (s *room) deadStuck() bool {
	now := time.Now()
	return slices.ContainsFunc(s.dead.lanes, func(l *lane) bool { return s.isStuck(l, now) })
}
