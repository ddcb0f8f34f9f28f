package kafka

import (
	"testing"

	"functiongraph-ingest/pkg/sink"
)

// A client that sends nothing but garbage leaves a few lines for each reason, and one with the number of the others.
func TestTheFirstDeadLettersAreTold(t *testing.T) {
	var log logged
	log.t = t
	s := start(t, cluster(t, 1), func(_ *Config, d *Deps) { log.to(d) })
	for i := range 100 {
		reason := []string{"bad_value", "truncated"}[i%2]
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("x"), Reason: reason, Offset: 7, BodyID: uint64(i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	closeSink(t, s)
	for _, reason := range []string{"bad_value", "truncated"} {
		if n := log.lines("an event is a dead letter", "reason="+reason, "offset=7", "topic=t.dlq"); n != firstDead {
			t.Errorf("%d lines for %s, want %d", n, reason, firstDead)
		}
		if n := s.Metrics().DeadReasons[reason]; n != 50 {
			t.Errorf("%d of reason %s", n, reason)
		}
	}
	if log.lines("more events are dead letters", "bad_value=47", "truncated=47") != 1 {
		t.Error("no line has the number of the others")
	}
}
