package ndjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/pkg/sink"
)

type ackCount struct {
	mu                  sync.Mutex
	held, settled, lost int
}

func (a *ackCount) Hold() { a.held++ }

func (a *ackCount) Settle(lost int) {
	a.mu.Lock()
	defer a.mu.Unlock()
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
	if err := errors.Join(s.Ready(), s.Close(t.Context()), s.Close(t.Context())); err != nil {
		t.Error(err)
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
	if ack.held == 0 || ack.held != ack.settled || ack.lost != 0 {
		t.Errorf("%d parts held, %d settled, %d lost", ack.held, ack.settled, ack.lost)
	}
	if _, err := s.Append(t.Context(), make([]sink.Record, 1), nil); !errors.Is(err, sink.ErrClosed) {
		t.Error(err)
	}
}

// A write error is not for ever: the line goes on at the byte at which it stopped.
func TestWriteErrorsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{fails: true}
		s := New(f)
		var ack ackCount
		for range 3 {
			if _, err := s.Append(t.Context(), []sink.Record{{Value: []byte(`{"a":1}`)}}, &ack); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if err := s.Ready(); !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, sink.ErrNoRoom) || s.Delivery().State != sink.Retrying {
			t.Errorf("ready: %v, %+v", err, s.Delivery())
		}
		if f.calls > 100 || f.text() == "" {
			t.Errorf("%d attempts in a minute, %q written", f.calls, f.text())
		}
		f.repair()
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := f.text(); got != strings.Repeat("{\"a\":1}\n", 3) || s.Stats().Delivered != 3 || ack.lost != 0 {
			t.Errorf("%q, %+v, %d lost", got, s.Stats(), ack.lost)
		}
	})
}

// A line of which only a part could be written by the end is dropped, and Close says so.
func TestTornLineIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{fails: true, most: 5}
		s := New(f)
		var ack ackCount
		s.Append(t.Context(), []sink.Record{{Value: []byte(`1`)}, {Value: []byte(`{"a":1}`)}, {Value: []byte(`{"b":1}`)}}, &ack)
		for len(f.text()) < 5 {
			time.Sleep(time.Second)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := s.Close(ctx)
		if err == nil || !strings.Contains(err.Error(), "incomplete") || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close: %v", err)
		}
		st := s.Stats()
		if st.Delivered != 1 || st.Dropped[sink.DroppedShutdown] != 2 || ack.lost != 2 || st.InFlight != 0 {
			t.Errorf("%q written: %+v, %d lost", f.text(), st, ack.lost)
		}
	})
}

// stuck is a sink on a pipe that is full because its reader stands still; it writes to what as makes of the pipe.
func stuck(t *testing.T, line int, as func(*os.File) io.Writer) (s *Sink, ack *ackCount, r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	s, ack = New(as(w)), &ackCount{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // takes what there is room for
	rec := []sink.Record{{Value: []byte(`"` + strings.Repeat("x", line-3) + `"`)}}
	for end := time.Now().Add(20 * time.Second); s.Delivery().State != sink.Blocked && time.Now().Before(end); {
		if _, err := s.Append(ctx, rec, ack); err != nil {
			time.Sleep(time.Millisecond)
		}
	}
	if s.Delivery().State != sink.Blocked {
		t.Fatalf("appends find no room: %+v", s.Delivery())
	}
	return s, ack, r, w
}

// A reader that stands still is told like a disk that is full.
func TestReaderThatStandsStillIsTold(t *testing.T) {
	s, _, r, _ := stuck(t, 1000, func(f *os.File) io.Writer { return f })
	if err := s.Ready(); !errors.Is(err, sink.ErrNoRoom) {
		t.Errorf("ready: %v", err)
	}
	if d := s.Delivery(); d.Trouble.Kind != "output_stalled" || d.Since.IsZero() {
		t.Errorf("%+v", d)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	for end := time.Now().Add(20 * time.Second); s.Ready() != nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(s.Ready(), s.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

// One event is enough: it does not reach the reader.
func TestOneEventIsEnoughToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := New(w)
		time.Sleep(time.Minute)
		if _, err := s.Append(t.Context(), []sink.Record{{Value: []byte("{}")}}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := s.Ready(); err != nil || s.Delivery().State != sink.Delivering {
			t.Errorf("at once: %v, %+v", err, s.Delivery())
		}
		time.Sleep(stalledAfter)
		if err := s.Ready(); !errors.Is(err, sink.ErrNoRoom) || s.Delivery().State != sink.Retrying {
			t.Errorf("%v, %+v", err, s.Delivery())
		}
		_, _ = io.ReadFull(r, make([]byte, 3))
		time.Sleep(time.Minute)
		if err := s.Ready(); err != nil || s.Delivery().State != sink.Idle {
			t.Errorf("afterwards: %v, %+v", err, s.Delivery())
		}
		_ = s.Close(t.Context())
	})
}

// A slow reader is not one that stands still.
func TestSlowReaderIsNoTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := New(w)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for err := error(nil); err == nil; synctest.Wait() {
			_, err = s.Append(ctx, []sink.Record{{Value: make([]byte, 999)}}, nil)
		}
		for range 20 {
			if _, err := io.ReadFull(r, make([]byte, 4000)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(stalledAfter / 2)
			if err := s.Ready(); err != nil || s.Delivery().State != sink.Delivering {
				t.Errorf("%v, %+v", err, s.Delivery())
			}
		}
		_ = r.Close()
		_ = s.Close(t.Context())
	})
}

// A stop while the reader stands still: what the pipe has is delivered, and no more, whether or not the write can be
// ended. A line that a pipe takes as a whole is not torn; a longer one is, and Close says so.
func TestStopWhileTheReaderStandsStill(t *testing.T) {
	for name, as := range map[string]func(*os.File) io.Writer{
		"a write that ends by a deadline": func(f *os.File) io.Writer { return f },
		"a write that hangs":              func(f *os.File) io.Writer { return struct{ io.Writer }{f} },
	} {
		for _, line := range []int{1000, 10_000} {
			t.Run(fmt.Sprint(name, ", lines of ", line), func(t *testing.T) {
				s, ack, r, w := stuck(t, line, as)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				told := s.Close(ctx)
				_ = w.Close()
				text, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				st, whole := s.Stats(), int64(bytes.Count(text, []byte("\n")))
				if whole == 0 || st.Delivered != whole || st.Dropped[sink.DroppedShutdown] != st.Admitted-whole || int64(ack.lost) != st.Admitted-whole {
					t.Errorf("%d lines reached the reader: %+v, %d lost", whole, st, ack.lost)
				}
				torn := !bytes.HasSuffix(text, []byte("\n"))
				if torn != (line > pipeBuf) || told == nil || strings.Contains(told.Error(), "incomplete") != torn {
					t.Errorf("the last line is incomplete: %v; Close: %v", torn, told)
				}
			})
		}
	}
}

// A file is written with as few calls as there can be.
func TestFilesAreWrittenAtOnce(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	c := &calls{File: f}
	s := New(c)
	if _, err := s.Append(t.Context(), []sink.Record{{Value: make([]byte, 10*pipeBuf)}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil || c.n != 1 {
		t.Errorf("%d writes, %v", c.n, err)
	}
}

type calls struct {
	*os.File
	n int
}

func (c *calls) Write(p []byte) (int, error) { c.n++; return c.File.Write(p) }

// A pipe whose reader is gone is final: what waits is dropped and counted, and Gone tells.
func TestReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := New(w)
	_ = r.Close()
	var ack ackCount
	for range 2 {
		s.Append(t.Context(), []sink.Record{{Value: []byte(`{"a":1}`)}}, &ack)
	}
	<-s.Gone()
	if n, err := s.Append(t.Context(), []sink.Record{{Value: []byte(`{"a":1}`)}}, nil); n != 0 || !errors.Is(err, sink.ErrClosed) {
		t.Errorf("Append: %d, %v", n, err)
	}
	if s.Ready() == nil || s.Delivery().State != sink.Failed {
		t.Errorf("ready: %v, %+v", s.Ready(), s.Delivery())
	}
	_ = s.Close(t.Context())
	if st := s.Stats(); st.Dropped[DroppedGone] != st.Admitted || st.InFlight != 0 || int64(ack.lost) != st.Admitted {
		t.Errorf("%+v, %d lost", st, ack.lost)
	}
}

// slowAck takes its time to hear.
type slowAck struct{ hears chan struct{} }

func (a *slowAck) Hold()      {}
func (a *slowAck) Settle(int) { <-a.hears }

type withoutReader struct{}

func (withoutReader) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// Close returns when the acks are told, also when the reader is gone.
func TestCloseAfterTheAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(withoutReader{})
		ack := &slowAck{make(chan struct{})}
		_, _ = s.Append(t.Context(), []sink.Record{{Value: []byte("{}")}}, ack)
		<-s.Gone()
		closed := make(chan error, 1)
		go func() { closed <- s.Close(t.Context()) }()
		if synctest.Wait(); len(closed) > 0 {
			t.Error("before")
		}
		close(ack.hears)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}
