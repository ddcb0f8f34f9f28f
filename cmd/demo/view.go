package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"functiongraph-ingest/bench/hist"
	"functiongraph-ingest/internal/admin"
	"functiongraph-ingest/internal/term"
)

// watched is everything that the view looks at.
type watched struct {
	options  options
	traffic  *traffic
	ingest   *ingest
	consumer *consumer
	broker   *broker
	looks    looks
	spooled  int64 // events on disk at most
}

// looks counts how often the ledger was looked at while it changed.
type looks struct{ all, unbalanced int }

// moment is what was to be seen at one time.
type moment struct {
	at      time.Duration // since the start
	traffic trafficStats
	latency hist.Hist // since the moment before
	gauges  gauges
	seen    consumerStats
	status  *admin.Status // nil: there was no answer
	frozen  bool          // the broker is
}

func (w *watched) look() moment {
	m := moment{at: time.Since(w.traffic.begun), seen: w.consumer.look()}
	m.traffic, m.latency = w.traffic.look()
	m.gauges, _ = w.ingest.scrape(context.Background()) // it answers again with the next frame, or the end tells why not
	m.frozen = w.broker.cold.frozen()
	if s, err := w.ingest.status(context.Background()); err == nil {
		m.status = &s
		w.looks.all++
		if !s.Ledger.Balanced() {
			w.looks.unbalanced++
		}
		w.spooled = max(w.spooled, s.Ledger.Spooled)
	}
	return m
}

const (
	rateOver   = time.Second // rates are means over so long
	keep       = 48          // moments: a spark line of 12 s
	barWidth   = 22
	frameWidth = 78
)

// view turns moments into text.
type view struct {
	options options
	colors  term.Colors
	moments []moment // the latest keep
	peak    struct{ ring, gate, buffers, spool float64 }
}

func newView(o options, c term.Colors) *view { return &view{options: o, colors: c} }

func (v *view) add(m moment) {
	if n := len(v.moments); n > 0 && m.gauges.gate.limit == 0 {
		m.gauges = v.moments[n-1].gauges // not scraped: show the last that was
	}
	if n := len(v.moments); n > 0 && m.status == nil {
		m.status = v.moments[n-1].status
	}
	if v.moments = append(v.moments, m); len(v.moments) > keep {
		v.moments = v.moments[1:]
	}
	v.peak.ring = max(v.peak.ring, m.gauges.ring.used)
	v.peak.gate = max(v.peak.gate, m.gauges.gate.used)
	v.peak.spool = max(v.peak.spool, m.gauges.spool.used)
	v.peak.buffers = max(v.peak.buffers, m.gauges.buffers.used)
}

func (v *view) last() moment { return v.moments[len(v.moments)-1] }

// change is what happened in the last second or so.
type change struct {
	seconds                      float64
	posted, in, out, seen        float64 // events
	bodies                       float64
	batches, rawBytes, wireBytes float64
	cpu                          float64 // seconds
	latency                      hist.Hist
}

func (v *view) change() change {
	now := v.last()
	first := len(v.moments) - 1
	var c change
	for first > 0 && now.at-v.moments[first].at < rateOver-frameEvery/2 {
		c.latency.Merge(&v.moments[first].latency)
		first--
	}
	if first == len(v.moments)-1 { // the first moment of all: since the start
		c.latency = now.latency
		c.between(&moment{}, &now)
	} else {
		c.between(&v.moments[first], &now)
	}
	return c
}

func (c *change) between(a, b *moment) {
	c.seconds = max((b.at - a.at).Seconds(), 1e-3)
	c.posted = float64(b.traffic.events - a.traffic.events)
	c.bodies = float64(b.traffic.bodies - a.traffic.bodies)
	c.in = b.gauges.admitted - a.gauges.admitted
	c.out = b.gauges.delivered + b.gauges.deadLettered - a.gauges.delivered - a.gauges.deadLettered
	c.seen = float64(b.seen.events + b.seen.dead - a.seen.events - a.seen.dead)
	c.batches = b.gauges.batches - a.gauges.batches
	c.rawBytes = b.gauges.rawBytes - a.gauges.rawBytes
	c.wireBytes = b.gauges.wireBytes - a.gauges.wireBytes
	c.cpu = b.gauges.cpuSeconds - a.gauges.cpuSeconds
}

func (c *change) perSecond(v float64) string { return term.Count(v/c.seconds) + "/s" }

// perBatch is v per batch, 0 while there is none: batches are counted when they are sent, their bytes before that.
func (c *change) perBatch(v float64) float64 {
	if c.batches == 0 {
		return 0
	}
	return v / c.batches
}

// line is the view of a second in one line.
func (v *view) line() string {
	c, m := v.change(), v.last()
	return fmt.Sprintf("%4.0fs  in %s  out %s  consumed %s  ack p50 %s p99 %s  ring %.0f%%  gate %.1f%%  buffers %.1f%%  batch %.0f events %s  dead letters %s (%s)  %s",
		m.at.Seconds(), c.perSecond(c.in), c.perSecond(c.out), c.perSecond(c.seen),
		term.Millis(c.latency.Quantile(0.5)), term.Millis(c.latency.Quantile(0.99)),
		100*m.gauges.ring.share(), 100*m.gauges.gate.share(), 100*m.gauges.buffers.share(),
		c.perBatch(c.out), term.Size(c.perBatch(c.rawBytes)), term.Count(m.seen.dead), strings.Join(byReason(m.seen.reasons), ", "), v.brokerState(&m))
}

// byReason lists dead letters, the commonest reason first.
func byReason(reasons map[string]int64) []string {
	names := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = name + " " + term.Count(reasons[name])
	}
	return names
}
