package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink/kafka"
)

// A token of --oauth-token-file is the one that is in the file when a connection logs in; a file that is no good leaves
// the old one in use.
func TestTokenFileIsReadAgain(t *testing.T) {
	call(t, "version") // clears the environment
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	cfg := parsed(t, "check", "--brokers=127.0.0.1:1", "--topic=t", "--sasl-mechanism=OAUTHBEARER", "--oauth-token-file="+path)
	c, err := newCredentials(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var deps kafka.Deps
	c.addTo(&deps)
	for _, step := range []struct{ text, want string }{{"first\n", "first"}, {"second\n", "second"}, {"two words\n", "second"}, {"third", "third"}} {
		write(step.text)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if got, err := deps.Token(ctx, ""); got != step.want || err != nil {
			t.Errorf("%q in the file: %q, %v", step.text, got, err)
		}
		cancel()
	}
	if deps.Credentials != nil {
		t.Error("user and password beside a token")
	}
}
