package ownlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Unix(1e9, 0)} }

func TestBurstThenAFewAMinute(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	l := New(&out, false, false, c.now)
	const seconds, perSecond = 3600, 100
	for range seconds {
		for range perSecond {
			fmt.Fprintln(l, "fault")
		}
		c.t = c.t.Add(time.Second)
	}
	l.Close()
	faults, suppressed := 0, 0
	for line := range strings.Lines(out.String()) {
		rest, ok := strings.CutPrefix(line, string(l.head))
		if !ok {
			t.Fatalf("no marker before %q", line)
		}
		var n int
		if rest == "fault\n" {
			faults++
		} else if _, err := fmt.Sscanf(rest, "%d lines suppressed\n", &n); err == nil {
			suppressed += n
		} else {
			t.Fatalf("unexpected %q", line)
		}
	}
	if want := burst + int(seconds*time.Second/refill) - 1; faults != want {
		t.Errorf("%d lines in an hour, want %d", faults, want)
	}
	if faults+suppressed != seconds*perSecond {
		t.Errorf("%d written, %d told as suppressed, of %d", faults, suppressed, seconds*perSecond)
	}
}

// A clock that is set back must not silence the log for as long.
func TestClockSetBack(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	l := New(&out, false, false, c.now)
	for range burst {
		fmt.Fprintln(l, "x")
	}
	c.t = c.t.Add(-24 * time.Hour)
	fmt.Fprintln(l, "lost")
	out.Reset()
	c.t = c.t.Add(refill)
	fmt.Fprintln(l, "y")
	if !strings.HasSuffix(out.String(), "] y\n") {
		t.Errorf("silent after the clock was set back: %q", out.String())
	}
}

// As JSON each line, also the one about missing lines, is one object and is recognised.
func TestJSON(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	l := New(&out, true, false, c.now)
	log := slog.New(slog.NewJSONHandler(l, nil))
	for range burst + 2 {
		log.Warn(`a "quoted" fault`, "error", "line\nbreak")
	}
	c.t = c.t.Add(refill)
	log.Warn("later")
	var last struct {
		From, Msg string
		Lines     int
	}
	n := 0
	for line := range bytes.Lines(out.Bytes()) {
		n++
		if err := json.Unmarshal(line, &last); err != nil || !strings.HasPrefix(last.From, "ingest[") {
			t.Fatalf("%v: %s", err, line)
		}
		in, err := json.Marshal("[Extension]" + string(line))
		if err != nil || !l.MayHold(in) || !l.Own(append([]byte("[Extension]"), line...)) {
			t.Errorf("not recognised: %s", line)
		}
	}
	if n != burst+2 || last.Lines != 2 || last.Msg != "later" {
		t.Errorf("%d lines, %+v", n, last)
	}
	if l.Own([]byte(`{"from":"ingest[]","msg":"x"}`)) {
		t.Error("another one's line is taken for ours")
	}
}

func TestOwn(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, false, false, nil)
	slog.New(slog.NewTextHandler(l, nil)).Warn(`a "quoted" fault`, "error", "line\nbreak")
	line := strings.TrimSuffix(out.String(), "\n")
	other := New(&bytes.Buffer{}, false, false, nil)
	for _, tt := range []struct {
		logs string
		want bool
	}{
		{line, true},
		{"[Extension]" + line, true},
		{"[Extension] " + line + "\n", true},
		{"[Extension] [Extension]" + line, true},
		{" " + line + " \r\n\n[Extension]" + line + "\n", true},
		{"", false},
		{"\n", false},
		{"[Extension]this is a simple log.", false},
		{line + "\nsomebody else's", false}, // nothing of theirs is left out
		{"quotes us: " + line, false},
		{"[Function]" + line, false},
		{string(other.head) + "another process with this program", false},
		{"ingest[] x", false},
	} {
		if got := l.Own([]byte(tt.logs)); got != tt.want {
			t.Errorf("Own(%q) = %v", tt.logs, got)
		}
		if tt.want && !l.MayHold([]byte(tt.logs)) {
			t.Errorf("MayHold(%q) is false", tt.logs)
		}
	}
}

// Nobody can make events disappear by guessing the marker.
func TestMarkersDiffer(t *testing.T) {
	if a, b := New(nil, false, false, nil), New(nil, false, false, nil); bytes.Equal(a.marker, b.marker) || len(a.marker) < 20 {
		t.Errorf("%q and %q", a.marker, b.marker)
	}
}

// A platform that collects marked lines only sent none of ours back, whatever --own-logs said.
func TestMarkedLines(t *testing.T) {
	for _, json := range []bool{false, true} {
		var out bytes.Buffer
		c := newClock()
		l := New(&out, json, true, c.now)
		for range burst + 1 {
			fmt.Fprintln(l, `{"msg":"x"}`)
		}
		l.Close() // tells of the missing line
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != burst+1 {
			t.Errorf("%d lines, want %d", len(lines), burst+1)
		}
		for _, line := range lines {
			if !strings.HasPrefix(line, "[Extension]"+string(l.head)) || !l.Own([]byte(line)) || !l.Own([]byte("[Extension]"+line)) {
				t.Errorf("not marked, or not recognised: %s", line)
			}
		}
	}
}
