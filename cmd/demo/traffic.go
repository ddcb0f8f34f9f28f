package main

import (
	"net/http"
	"sync"
	"time"

	"functiongraph-ingest/bench/hist"
	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/internal/simulator"
)

// trafficStats are counts of posts so far. A body that is sent again is counted again.
type trafficStats struct {
	events, bytes int64 // in bodies that were answered 200, the process's own lines among them
	good, dead    int64 // of these events
	bodies        int64 // answered 200
	refusals      int64 // answers other than 200
	unanswered    int64 // bodies without an answer
	open          int64 // events of bodies that were not answered 200: they may have been taken
	broken        map[simulator.Breakage]int64
}

// traffic hears of every post: it counts for the view, and the account keeps what the verdict needs.
type traffic struct {
	account *fgsim.Account
	begun   time.Time

	mu     sync.Mutex
	stats  trafficStats
	recent hist.Hist // time from POST to answer since the last look
	total  hist.Hist
}

func newTraffic() *traffic {
	return &traffic{account: fgsim.NewAccount(), begun: time.Now(), stats: trafficStats{broken: map[simulator.Breakage]int64{}}}
}

// Posted implements [fgsim.Recorder].
func (t *traffic) Posted(d *simulator.Delivery, status int, took time.Duration) {
	t.account.Posted(d, status, took)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.stats
	if status != http.StatusOK {
		s.open += int64(len(d.Events))
		if status == 0 {
			s.unanswered++
		} else {
			s.refusals++
		}
		return
	}
	t.recent.Add(took)
	t.total.Add(took)
	good, dead := d.Count()
	s.bodies++
	s.events += int64(len(d.Events))
	s.good += int64(good)
	s.dead += int64(dead)
	s.bytes += int64(len(d.Body))
	for i := range d.Events {
		if b := d.Events[i].Broken; b != simulator.Intact {
			s.broken[b]++
		}
	}
}

// look returns the counts so far and the latencies since the last look.
func (t *traffic) look() (trafficStats, hist.Hist) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.broken = nil // a map that goes on to change; only the end needs it
	recent := t.recent
	t.recent = hist.Hist{}
	return s, recent
}

// end is everything that was posted, when no more is.
func (t *traffic) end() (stats trafficStats, latency hist.Hist) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats, t.total
}
