package test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

const hour = time.Hour

// awaitSeen polls for a condition; nothing depends on how long it takes.
func awaitSeen(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never saw %s", what)
		}
	}
}

// trouble and status are what the tests read of /status.
type trouble struct{ Kind, Reason, Remedy, Error string }

type status struct {
	Ready    bool
	NotReady string
	Delivery struct {
		State                       string
		Waiting                     int64
		Trouble, DeadLetters, Spool trouble
	}
}

func statusOf(t *testing.T, p *proc.Process) (s status) {
	t.Helper()
	code, body, err := p.Get("/status")
	if err != nil || code != http.StatusOK {
		t.Fatalf("/status: %d %v", code, err)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatalf("/status: %v: %s", err, body)
	}
	return s
}

// lines counts the lines of the log that hold all of the words.
func lines(p *proc.Process, words ...string) (n int) {
next:
	for line := range strings.Lines(p.Stderr()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}
