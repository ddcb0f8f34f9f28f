package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/internal/simulator"
	"functiongraph-ingest/pkg/decode"
)

// stub answers posts like ingest: 200 with the counts, or what spoil says (0: no answer).
type stub struct {
	mu    sync.Mutex
	posts int
	spoil func(post int) (status int, answer string)
}

func (s *stub) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts++
	status, answer := http.StatusOK, countIn(body, r.URL.Path == "/v1/events")
	if s.spoil != nil {
		if code, text := s.spoil(s.posts); code != http.StatusOK {
			status, answer = code, text
		} else if text != "" {
			answer = text
		}
	}
	if status == 0 {
		return nil, errors.New("connection reset")
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

// countIn is the answer for a body.
func countIn(body []byte, lines bool) string {
	var d decode.Decoder
	var e decode.Event
	good, bad := 0, 0
	for d.Reset(body, decode.Options{NDJSON: lines}); d.Next(&e); {
		if e.Reason == decode.OK {
			good++
		} else {
			bad++
		}
	}
	if bad == 0 {
		return ""
	}
	return fmt.Sprintf(`{"events":%d,"deadLettered":%d}`, good, bad)
}

// post runs traffic against s for so long, on a clock of its own.
func post(t *testing.T, s *stub, o options) (account []posted, stats trafficStats) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), o.duration)
		defer cancel()
		account, stats, _ = startTraffic(ctx, "ingest", o, s).wait()
	})
	return account, stats
}

func TestTrafficKeepsItsRateAndItsAccount(t *testing.T) {
	o := options{duration: 2 * wavePeriod, rate: 5000, senders: 4, seed: 2}
	account, stats := post(t, &stub{}, o)
	want := o.duration.Seconds() * float64(o.rate)
	if got := float64(stats.events); got < 0.9*want || got > 1.1*want {
		t.Errorf("%.0f events, want about %.0f", got, want)
	}
	if int64(len(account)) != stats.events || stats.unanswered+stats.gaveUp+stats.wrongAnswers+stats.refusals != 0 {
		t.Errorf("%d events in the account, %+v", len(account), stats)
	}
	seen, dead := map[simulator.ID]bool{}, int64(0)
	for _, p := range account {
		seen[p.id] = true
		if p.dead {
			dead++
		}
	}
	var broken int64
	for _, n := range stats.broken {
		broken += n
	}
	if len(seen) != len(account) || dead != broken || dead == 0 {
		t.Errorf("%d ids of %d events, %d dead, %d broken", len(seen), len(account), dead, broken)
	}
}

func TestRefusedBodyIsSentAgainAndCountedOnce(t *testing.T) {
	s := &stub{spoil: func(post int) (int, string) {
		if post%3 == 1 {
			return http.StatusServiceUnavailable, "full"
		}
		return http.StatusOK, ""
	}}
	account, stats := post(t, s, options{duration: 5 * time.Second, rate: 100, senders: 1})
	if stats.refusals == 0 || stats.bodies != int64(s.posts)-stats.refusals || stats.gaveUp != 0 || int64(len(account)) != stats.events {
		t.Errorf("%d posts, %+v, %d in the account", s.posts, stats, len(account))
	}
}

// A sender stops at what it cannot account for.
func TestWrongAnswersAreNoted(t *testing.T) {
	always := func(status int, answer string) func(int) (int, string) {
		return func(int) (int, string) { return status, answer }
	}
	o := options{duration: time.Minute, rate: 100, senders: 2}
	for _, tt := range []struct {
		name  string
		spoil func(int) (int, string)
		check func(s *trafficStats) bool
	}{
		{"refused for good", always(503, "full"), func(s *trafficStats) bool { return s.gaveUp == 2 && s.refusals == 2*maxTries && s.bodies == 0 }},
		{"no answer", always(0, ""), func(s *trafficStats) bool { return s.unanswered == 2 && strings.Contains(s.oddity, "reset") }},
		{"outcome unknown", always(504, "outcome unknown"), func(s *trafficStats) bool { return s.unanswered == 2 && s.oddity == "status 504 outcome unknown" }},
		{"wrong counts", always(200, `{"events":1,"deadLettered":99}`), func(s *trafficStats) bool {
			return s.wrongAnswers == s.bodies && strings.Contains(s.oddity, `99}, want`)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, stats := post(t, &stub{spoil: tt.spoil}, o); !tt.check(&stats) {
				t.Errorf("%+v", stats)
			}
		})
	}
}
