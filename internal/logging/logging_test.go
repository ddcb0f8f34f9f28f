package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/printable"
)

// hostile is what a broker, a file name or a header may hold: terminal commands, a line that looks like ours, C1 controls,
// a change of direction, a byte that is no UTF-8.
const hostile = "x\x1b]0;y\x07\nlevel=ERROR msg=fake\r\x7f\u009b31m\u202e\u2028\U000e0001\xff"

type size int

func (s size) String() string { return "64MiB" }

// Foreign text is one line in both formats, without a character that a terminal acts on, wherever it stands.
func TestForeignTextIsEscaped(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		log := New(&out, asJSON, NewLevel("debug"))
		log.With(hostile, hostile).WithGroup(hostile).Warn(hostile, "error", errors.New(hostile), "list", []string{hostile},
			hostile, hostile, "group", slog.GroupValue(slog.String("in", hostile)), "bytes", []byte(hostile))
		line, ok := strings.CutSuffix(out.String(), "\n")
		if i := strings.IndexFunc(line, printable.Risky); !ok || i >= 0 {
			t.Errorf("json=%v: %q", asJSON, out.String())
		}
		if asJSON {
			var m map[string]any
			if err := json.Unmarshal(out.Bytes(), &m); err != nil || m["msg"] != strings.ToValidUTF8(hostile, "\ufffd") {
				t.Errorf("%v: %q", err, m["msg"])
			}
		}
	}
}

// An attribute that says nothing is left out; the others read the same in both formats.
func TestAttributes(t *testing.T) {
	var none error
	for _, tt := range []struct {
		json bool
		want string
	}{
		{false, "level=INFO msg=m for=1.5s limit=64MiB why=no list=\"[a b]\" empty=[] n=0\n"},
		{true, `"level":"INFO","msg":"m","for":"1.5s","limit":"64MiB","why":"no","list":["a","b"],"empty":[],"n":0}` + "\n"},
	} {
		var out bytes.Buffer
		New(&out, tt.json, NewLevel("info")).Info("m", "error", none, "reason", nil, "error", "", "for", 1500*time.Millisecond, "limit", size(1),
			"why", errors.New("no"), "list", []string{"a", "b"}, "empty", []string(nil), "n", 0)
		_, rest, _ := strings.Cut(out.String(), map[bool]string{false: " ", true: ","}[tt.json])
		if rest != tt.want {
			t.Errorf("%s", rest)
		}
	}
}

func TestLevel(t *testing.T) {
	l := NewLevel("warn")
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "warn"},
		{l.Toggle, "debug"},
		{l.Toggle, "warn"},
		{l.Toggle, "debug"},
		{func() { _ = l.Set("ERROR") }, "error"}, // what was asked for last counts
		{l.Toggle, "debug"},
		{l.Toggle, "error"},
		{func() { _ = l.Set("debug") }, "debug"},
		{l.Toggle, "debug"}, // there is nothing to go back to
		{func() {
			if err := l.Set("loud\x1b"); err == nil || !strings.Contains(err.Error(), "debug, info, warn, error") || strings.Contains(err.Error(), "\x1b") {
				t.Error(err)
			}
		}, "debug"},
	} {
		if step.do(); l.String() != step.want {
			t.Fatalf("step %d: %s, want %s", i, l, step.want)
		}
	}
}

// A change is one line; what changes nothing is none.
func TestChange(t *testing.T) {
	var out bytes.Buffer
	l := NewLevel("info")
	log := New(&out, false, l)
	for _, word := range []string{"debug", "debug", "nothing", "info"} {
		_ = l.Change(log, "a test", func() error { return l.Set(word) })
	}
	if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), `level=debug by="a test"`) {
		t.Errorf("%s", &out)
	}
}
