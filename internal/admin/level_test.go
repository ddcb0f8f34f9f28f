package admin

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"functiongraph-ingest/internal/logging"
)

// The level is read and changed while the process runs; what is no level changes nothing and is told.
func TestLogLevel(t *testing.T) {
	var out bytes.Buffer
	d := deps(nil)
	d.Level = logging.NewLevel("info")
	d.Log = logging.New(&out, false, d.Level)
	base, client := run(t, Config{}, d)
	for _, tt := range []struct {
		method, body string
		code         int
		want, level  string
	}{
		{"GET", "", 200, "info\n", "info"},
		{"PUT", "debug", 200, "debug\n", "debug"},
		{"PUT", " WARN\n", 200, "warn\n", "warn"},
		{"PUT", "", 400, "must be one of debug, info, warn, error", "warn"},
		{"PUT", "loud\x1b", 400, "must be one of debug, info, warn, error", "warn"},
		{"PUT", strings.Repeat("debug", 1000), 400, "too large", "warn"},
		{"POST", "debug", 405, "", "warn"}, // what a form of a web page can send
		{"GET", "", 200, "warn\n", "warn"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, base+"/loglevel", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		_, _ = text.ReadFrom(res.Body)
		res.Body.Close()
		if res.StatusCode != tt.code || !strings.Contains(text.String(), tt.want) || d.Level.String() != tt.level || strings.Contains(text.String(), "\x1b") {
			t.Errorf("%s %q: %d %q, level %s", tt.method, tt.body, res.StatusCode, &text, d.Level)
		}
	}
	if n := strings.Count(out.String(), "the log level has changed"); n != 1 { // a change to warn hides its own line
		t.Errorf("%d lines:\n%s", n, &out)
	}
}
