package fgsim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// The events of a second come in its first part, and their number is that of the rate.
func TestPaceInBursts(t *testing.T) {
	p := pace{rate: 100, burst: 4, begun: time.Now().Add(time.Hour)} // never late
	var last time.Duration
	for i := range 1000 {
		at := p.due().Sub(p.begun)
		if whole := time.Duration(i/100) * time.Second; at < last || at < whole || at > whole+250*time.Millisecond {
			t.Fatalf("event %d is due at %v", i, at)
		}
		last = at
		p.sent(1)
	}
}

// The reference can be read so that only lines with the mark are collected: both readings can be played.
func TestMarkedOnlySendsMarkedLinesBack(t *testing.T) {
	for markedOnly, want := range map[bool][]string{
		false: {"[Extension]plain", "[Extension]marked", "[Extension] with a blank", "[Extension]not at the front [Extension]"},
		true:  {"[Extension]marked", "[Extension] with a blank"},
	} {
		got := []string{}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var events []struct{ Name, Logs string }
			if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
				t.Error(err)
			}
			for _, e := range events {
				got = append(got, e.Logs)
			}
		}))
		a := newAPI("", nil)
		a.subscription = &subscription{Types: []string{"extension"}}
		a.subscription.Subscriber.URI = server.URL
		echo := &lines{}
		for _, line := range []string{"plain", "[Extension]marked", "[Extension] with a blank", "not at the front [Extension]"} {
			echo.add(line)
		}
		s := scenario(t, "name: test")
		s.Platform.MarkedOnly = markedOnly
		traffic := newTraffic(s, a, echo, nil, nil)
		traffic.sendBack(t.Context())
		traffic.sendBack(t.Context()) // none is left
		traffic.client.CloseIdleConnections()
		server.Close()
		if posts, _, _ := traffic.result(); !slices.Equal(got, want) || posts.Echoed != int64(len(want)) {
			t.Errorf("markedOnly=%t: %q, %d echoed; want %q", markedOnly, got, posts.Echoed, want)
		}
	}
}
