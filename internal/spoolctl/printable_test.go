package spoolctl

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// hostile has what terminals act on: ESC, BEL, a line break, DEL, C1 as a character and as a bare byte, and marks
// that change the direction of text.
const hostile = "a\x1b]0;x\x07\nfake line\x7f\u009b31m\x9b\u202e\u2066\u200f\u2028z"

// TestNothingRawReachesTheTerminal: names of files and topics, and values of events, are printed without a character
// that a terminal acts on.
func TestNothingRawReachesTheTerminal(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spooltest.Queue(s, hostile, 0).Append(spool.Meta{Events: 1, Records: 1}, []byte("no batch")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"quarantine/" + hostile + ".bad", "setaside/" + hostile + ".json", hostile + ".seg"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	source := Source{Dir: dir, Pause: func() {}}
	l, err := List(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if err := l.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	if bad, err := Verify(source, &out); bad < 3 || err != nil {
		t.Errorf("verify finds %d, %v", bad, err)
	}
	harmless(t, out.Bytes())
}

func harmless(t *testing.T, text []byte) {
	t.Helper()
	if !utf8.Valid(text) {
		t.Errorf("not UTF-8: %q", text)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if i := strings.IndexFunc(line, printable.Risky); i >= 0 || strings.HasPrefix(line, "fake line") {
			t.Errorf("raw: %q", line)
		}
	}
}

// TestExportedValuesAreTheSame: what is escaped means the same, and ordinary values are not touched.
func TestExportedValuesAreTheSame(t *testing.T) {
	for _, value := range []string{`{"a":"plain ä 世界 🙂"}`, "{\"a\":\n1}", "\"\x7f\u009b\u202e\U000e0001\"", "not json \x7f\u009b"} {
		line, err := appendValue(nil, []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		harmless(t, line)
		var got, want any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if json.Unmarshal([]byte(value), &want) != nil {
			want = value
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if !bytes.Equal(a, b) {
			t.Errorf("%q became %q", value, line)
		}
	}
	if line, _ := appendValue(nil, []byte("{\"a\":\"\x9b\"}")); !bytes.Contains(line, []byte("base64")) {
		t.Errorf("a bare byte became %q", line)
	}
}
