package kafka

import (
	"testing"
	"time"
)

// Events that the disk has damaged are dropped, for everybody who asks: they do not wait any more.
func TestWhatTheDiskHasDamagedDoesNotWait(t *testing.T) {
	t.Parallel()
	const events = 5000
	c, disk := cluster(t, 2), newTestDisk(t)
	s, n := spooling(t, c, "", func(cfg *Config, d *Deps) {
		cfg.Headers, cfg.MarkInterval, d.OpenSpool = HeadersStandard, time.Hour, disk.Open
	})
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	n.cut()
	appendAll(t, s, events, 7, nil)
	waitFor(t, func() bool { return s.Stats().Spooled > events/2 })
	disk.Flip(20_000)
	n.mend()
	waitFor(t, func() bool { st := s.Stats(); return st.Delivered+st.Dropped[DroppedDamaged] == events })
	lost := s.Stats().Dropped[DroppedDamaged]
	if d := s.Delivery(); lost == 0 || d.Waiting != 0 || d.SpooledEvents != 0 {
		t.Errorf("of %d events %d are damaged, %d wait, %d on disk", events, lost, d.Waiting, d.SpooledEvents)
	}
	st := closeSink(t, s)
	balance(t, st, events)
	for _, r := range consume(t, c, "t", int(events-lost)+1) {
		m, ok := ParseMark(r.Value)
		if ok && (!m.Final || m.Open != 0 || m.Lost != lost) {
			t.Errorf("%+v, %d lost", m, lost)
		}
	}
}
