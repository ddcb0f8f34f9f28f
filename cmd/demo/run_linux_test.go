package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"":                              "",
		"-duration 1m -rate 100":        "",
		"-duration 1h":                  "broker in memory",
		"-rate 0":                       "above 0",
		"-duration -1s":                 "above 0",
		"-connections 0":                "1 to 256",
		"now":                           "unexpected argument now",
		"-nonsense":                     "not defined",
		"-seed 7 -plain -package x.zip": "",
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
	return options{duration: duration, rate: 5000, connections: 3, seed: 1}, &screen{w: &out}, &out
}

func TestDemoAccountsForEverything(t *testing.T) {
	o, s, out := short(t, 1500*time.Millisecond)
	o.open = true
	ok, err := run(t.Context(), o, s)
	if !ok || err != nil || !strings.Contains(out.String(), "✔ every event is accounted for") || !strings.Contains(out.String(), "the broker froze") ||
		!strings.Contains(out.String(), "the status page: http://127.0.0.1:") {
		t.Errorf("%v, %v:\n%s", ok, err, out)
	}
}

// consuming is in the view when something has come out at the other end.
var consuming = regexp.MustCompile(`consumed [1-9]`)

// started is a screen that calls f when the view tells of the first events that were consumed.
type started struct {
	io.Writer
	f func()
}

func (s *started) Write(p []byte) (int, error) {
	if s.f != nil && consuming.Match(p) {
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

func TestDemoOfABrokenPackage(t *testing.T) {
	o, s, out := short(t, time.Second)
	o.zip = "/nowhere/package.zip"
	if ok, err := run(t.Context(), o, s); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
	o.zip = filepath.Join(t.TempDir(), "package.zip")
	f, err := os.Create(o.zip)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	h := &zip.FileHeader{Name: "extension/extension.sh"}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = io.WriteString(w, "#!/bin/sh\nexit 3\n")
	}
	if err := errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if ok, err := run(t.Context(), o, s); ok || err != nil || !strings.Contains(out.String(), "exit code 3") {
		t.Errorf("%v, %v:\n%s", ok, err, out)
	}
}
