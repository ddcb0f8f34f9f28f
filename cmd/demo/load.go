package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/internal/simulator"
)

const (
	slipShare   = 0.05
	brokenShare = 0.02
	linesShare  = 0.1

	answerTimeout = 45 * time.Second // above --ack-timeout
	retryAfter    = time.Second      // what a 503 of ingest says
	maxTries      = 5
	maxLag        = 250 * time.Millisecond // what a sender that is late tries to catch up with, at most

	wavePeriod = 6 * time.Second // the rate goes up and down, so that there is something to see
	waveHeight = 0.6
)

// posted is an event that ingest answered for with 200.
type posted struct {
	id   simulator.ID
	sum  uint64 // of key and value
	dead bool   // it belongs to the dead letters
}

// trafficStats are counts so far.
type trafficStats struct {
	events, bytes int64 // in bodies that were answered 200
	bodies        int64 // answered 200
	refusals      int64 // answers 503: nothing of the body was taken, it is sent again
	gaveUp        int64 // bodies refused maxTries times
	unanswered    int64 // bodies whose fate no answer tells
	wrongAnswers  int64 // 200, but with other counts than the body has
	broken        map[simulator.Breakage]int64
	oddity        string // one of the answers that should not have been, for a human
}

// traffic is what the instances send: each one body at a time, the next one after the answer.
type traffic struct {
	url    string
	rate   float64 // events per second of one sender
	client http.Client
	begun  time.Time
	wg     sync.WaitGroup

	mu      sync.Mutex
	stats   trafficStats
	recent  load.Hist // time from POST to answer since the last look
	total   load.Hist
	account []posted // by senders that have ended
}

// transport keeps a connection for each sender.
func transport(o options) http.RoundTripper {
	return &http.Transport{MaxIdleConnsPerHost: o.senders, DisableCompression: true}
}

// startTraffic posts until ctx ends; a body that is on its way then is still answered for.
func startTraffic(ctx context.Context, addr string, o options, via http.RoundTripper) *traffic {
	t := &traffic{
		url: "http://" + addr, rate: float64(o.rate) / float64(o.senders), begun: time.Now(),
		client: http.Client{Timeout: answerTimeout, Transport: via},
		stats:  trafficStats{broken: map[simulator.Breakage]int64{}},
	}
	for i := range o.senders {
		g := simulator.New(simulator.Config{
			Seed: o.seed, Stream: uint16(i), Slips: slipShare, Broken: brokenShare, Lines: linesShare, Start: t.begun,
		})
		t.wg.Go(func() { t.send(ctx, g) })
	}
	return t
}

// send is one instance.
func (t *traffic) send(ctx context.Context, g *simulator.Generator) {
	var account []posted
	defer func() {
		t.mu.Lock()
		t.account = append(t.account, account...)
		t.mu.Unlock()
	}()
	var d simulator.Delivery
	due := time.Now()
	for wait(ctx, time.Until(due)) {
		g.Next(&d)
		if !t.post(&d) {
			return // ingest is gone, or not itself: more of the same tells nothing new
		}
		for i := range d.Events {
			e := &d.Events[i]
			account = append(account, posted{id: e.ID, sum: sumOf([]byte(e.Key), d.Raw(e)), dead: e.Broken != simulator.Intact})
		}
		now := time.Now()
		rate := t.rate * (1 + waveHeight*math.Sin(2*math.Pi*now.Sub(t.begun).Seconds()/wavePeriod.Seconds()))
		due = due.Add(time.Duration(float64(len(d.Events)) / rate * float64(time.Second)))
		if late := now.Add(-maxLag); due.Before(late) {
			due = late
		}
	}
}

// wait is false when ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// post sends one body until it is taken; false when it was not.
func (t *traffic) post(d *simulator.Delivery) bool {
	for range maxTries {
		begun := time.Now()
		status, answer, err := t.try(d)
		took := time.Since(begun)
		switch {
		case status == http.StatusOK:
			t.taken(d, answer, took)
			return true
		case status == http.StatusServiceUnavailable:
			t.note(func(s *trafficStats) { s.refusals++ })
			<-time.After(retryAfter)
		default:
			if err == nil {
				err = fmt.Errorf("status %d %s", status, strings.TrimSpace(answer))
			}
			t.note(func(s *trafficStats) { s.unanswered++; s.oddity = err.Error() })
			return false
		}
	}
	t.note(func(s *trafficStats) { s.gaveUp++ })
	return false
}

func (t *traffic) note(f func(*trafficStats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.stats)
}

// try posts once. The status is 0 when no answer came.
func (t *traffic) try(d *simulator.Delivery) (status int, answer string, err error) {
	path := "/"
	if d.NDJSON {
		path = "/v1/events"
	}
	resp, err := t.client.Post(t.url+path, d.ContentType(), bytes.NewReader(d.Body))
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	return resp.StatusCode, string(text), nil
}

// taken notes a body that was answered 200.
func (t *traffic) taken(d *simulator.Delivery, answer string, took time.Duration) {
	good, bad := d.Count()
	want := ""
	if bad > 0 {
		want = fmt.Sprintf(`{"events":%d,"deadLettered":%d}`, good, bad)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent.Add(took)
	t.total.Add(took)
	s := &t.stats
	s.bodies++
	s.events += int64(len(d.Events))
	s.bytes += int64(len(d.Body))
	for i := range d.Events {
		if b := d.Events[i].Broken; b != simulator.Intact {
			s.broken[b]++
		}
	}
	if answer != want {
		s.wrongAnswers++
		s.oddity = fmt.Sprintf("200 %s, want %s", answer, want)
	}
}

// look returns the counts so far and the latencies since the last look.
func (t *traffic) look() (trafficStats, load.Hist) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.broken = nil // a map that goes on to change; only the end needs it
	recent := t.recent
	t.recent = load.Hist{}
	return s, recent
}

// wait waits for the last answers and returns everything that was posted.
func (t *traffic) wait() (account []posted, stats trafficStats, latency *load.Hist) {
	t.wg.Wait()
	t.client.CloseIdleConnections()
	return t.account, t.stats, &t.total
}
