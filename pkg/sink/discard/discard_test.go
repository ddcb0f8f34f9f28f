package discard

import (
	"errors"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

type ack struct{ held, settled, lost int }

func (a *ack) Hold()        { a.held++ }
func (a *ack) Settle(n int) { a.settled++; a.lost += n }

func TestEverythingIsDroppedAndCounted(t *testing.T) {
	why := errors.New("why")
	s := New("bad_config", why)
	if s.Stats().Dropped != nil || s.Ready() != why {
		t.Errorf("%+v, %v", s.Stats(), s.Ready())
	}
	var a ack
	if n, err := s.Append(t.Context(), make([]sink.Record, 3), &a); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := s.DeadLetter(t.Context(), &sink.DeadLetter{}, nil); err != nil {
		t.Error(err)
	}
	if got := s.Stats().Dropped["bad_config"]; got != 4 {
		t.Errorf("dropped %d", got)
	}
	if a != (ack{1, 1, 3}) {
		t.Errorf("%+v", a)
	}
}
