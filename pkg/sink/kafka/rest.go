package kafka

import "time"

// While the cluster cannot be used the steward looks again and again, and each look costs a connection and
// some 20 wake-ups. As long as anybody waits for the outcome that is cheap. But a process beside a
// function that has nothing to send rests: its looks become rare, and kafka-go's pool, which polls by itself,
// is closed between them. The first event or [Sink.Wake] ends the rest at once.

// failedPause is how long to sleep after the n-th look in a row that failed with err, and whether that is a rest.
func (s *kafkaCluster) failedPause(n int, err error) (d time.Duration, rest bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.hasPending():
		s.want.resting.Store(true)
		return doubling(n, restShortest, restLongest), true
	case n > hurriedRounds || classOfError(err) == classConfig:
		return refreshEvery, false // an operator must act, or it lasts: no hurry
	}
	return unreadyPoll, false
}

// rest sleeps for d without a pool, unless there are topics that can be used; true: it was stirred.
func (s *kafkaCluster) rest(d time.Duration) (stirred bool) {
	s.mu.Lock()
	usable := s.someUsable()
	s.mu.Unlock()
	if !usable {
		s.client.CloseIdleConnections()
	}
	s.sleepOrKick(d)
	return !s.want.resting.Swap(false)
}
