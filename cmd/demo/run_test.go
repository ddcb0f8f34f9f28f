package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"":                                "",
		"-duration 1m -rate 100":          "",
		"-duration 1h":                    "broker in memory",
		"-rate 0":                         "above 0",
		"-duration -1s":                   "above 0",
		"-senders 0":                      "1 to 256",
		"now":                             "unexpected argument now",
		"-nonsense":                       "not defined",
		"-seed 7 -plain -ingest ./ingest": "",
	} {
		_, err := parse(strings.Fields(args), io.Discard)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

// short is a demo that posts for a moment.
func short(t *testing.T, duration time.Duration) (options, *screen, *bytes.Buffer) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the program")
	}
	var out bytes.Buffer
	return options{duration: duration, rate: 5000, senders: 3, seed: 1}, &screen{w: &out}, &out
}

func TestDemoAccountsForEverything(t *testing.T) {
	o, s, out := short(t, 1500*time.Millisecond)
	ok, err := run(t.Context(), o, s)
	if !ok || err != nil || !strings.Contains(out.String(), "✔ every event is accounted for") {
		t.Errorf("%v, %v:\n%s", ok, err, out)
	}
}

// started is a screen that calls f with the first line of the view.
type started struct {
	io.Writer
	f func()
}

func (s *started) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("  in ")) && s.f != nil {
		s.f()
		s.f = nil
	}
	return s.Writer.Write(p)
}

// Ctrl-C ends the demo early, with the same account.
func TestInterruptedDemoAccountsForEverything(t *testing.T) {
	o, s, out := short(t, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	s.w = &started{out, cancel}
	ok, err := run(ctx, o, s)
	if !ok || err != nil || !strings.Contains(out.String(), "✔ every event is accounted for") {
		t.Errorf("%v, %v:\n%s", ok, err, out)
	}
}

func TestDemoOfABrokenIngest(t *testing.T) {
	o, s, _ := short(t, time.Second)
	o.bin = "/bin/false"
	if ok, err := run(t.Context(), o, s); ok || err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("%v, %v", ok, err)
	}
	o.bin = "/nowhere/ingest"
	if ok, err := run(t.Context(), o, s); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}
