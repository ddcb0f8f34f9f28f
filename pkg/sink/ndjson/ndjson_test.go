package ndjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

type ackCount struct{ held, settled, lost int }

func (a *ackCount) Hold() { a.held++ }
func (a *ackCount) Settle(lost int) {
	a.settled++
	a.lost += lost
}

func TestOneLinePerEvent(t *testing.T) {
	var out bytes.Buffer
	s := New(&out)
	var ack ackCount
	n, err := s.Append(t.Context(), []sink.Record{{Value: []byte("{\"a\":\r\n1}")}, {Value: []byte(`{"b":"\n"}`)}}, &ack)
	if n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if err := s.DeadLetter(t.Context(), &sink.DeadLetter{Raw: []byte("{\"x\":\n}"), Reason: "bad_value", Offset: 3, ErrorOffset: 9, BodyID: 7}, &ack); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 || lines[0] != `{"a":  1}` || lines[1] != `{"b":"\n"}` {
		t.Fatalf("%q", lines)
	}
	var d struct {
		DeadLetter struct {
			Reason              string
			Offset, ErrorOffset int
			BodyID              int
			Raw                 []byte
		}
	}
	if err := json.Unmarshal([]byte(lines[2]), &d); err != nil || string(d.DeadLetter.Raw) != "{\"x\":\n}" || d.DeadLetter.ErrorOffset != 9 {
		t.Errorf("%s: %v", lines[2], err)
	}
	if st := s.Stats(); st.Delivered != 2 || st.DeadLettered != 1 || st.Dropped != nil {
		t.Errorf("%+v", st)
	}
	if ack != (ackCount{held: 2, settled: 2}) {
		t.Errorf("%+v", ack)
	}
	if err := errors.Join(s.Ready(), s.Close(t.Context()), s.Close(t.Context())); err != nil {
		t.Error(err)
	}
	if _, err := s.Append(t.Context(), nil, nil); !errors.Is(err, sink.ErrClosed) {
		t.Error(err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrorsAreCounted(t *testing.T) {
	s := New(full{})
	var ack ackCount
	s.Append(context.Background(), []sink.Record{{Value: []byte("{}")}}, &ack)
	if st := s.Stats(); st.Dropped["write_error"] != 1 || st.Delivered != 0 || ack.lost != 1 {
		t.Errorf("%+v %+v", st, ack)
	}
	if s.Ready() == nil {
		t.Error("ready")
	}
}
