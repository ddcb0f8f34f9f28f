package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"functiongraph-ingest/internal/term"
	"functiongraph-ingest/internal/top"
)

const labelWidth = 15

// frame is the view of a moment as a screen. It has the same number of lines every time.
func (v *view) frame() []string {
	c, m := v.change(), v.last()
	lines := []string{v.progress(m.at)}
	lines = append(lines, v.flow(&c)...)
	lines = append(lines, "",
		v.label("POST → ack")+fmt.Sprintf("p50 %-9s p99 %-9s %-7s  %s", term.Millis(c.latency.Quantile(0.5)),
			term.Millis(c.latency.Quantile(0.99)), c.perSecond(c.bodies), v.answers(&m.traffic)),
		v.label("batch")+fmt.Sprintf("%.0f events, %s, %s compressed; %s",
			c.perBatch(c.out), term.Size(c.perBatch(c.rawBytes)), term.Size(c.perBatch(c.wireBytes)), c.perSecond(c.batches)),
		v.fill("ring", m.gauges.ring, v.peak.ring, func(n float64) string { return term.Count(n) }, "bodies"),
		v.fill("gate", m.gauges.gate, v.peak.gate, term.Size, ""),
		v.fill("buffers", m.gauges.buffers, v.peak.buffers, term.Size, ""),
		v.fill("spool", m.gauges.spool, v.peak.spool, term.Size, ""),
		v.label("process")+fmt.Sprintf("%.0f %% of a core, %s%s", 100*c.cpu/c.seconds, term.Size(m.gauges.rss), v.pageAddress()),
	)
	lines = append(lines, v.deadLetters(&m.seen)...)
	lines = append(lines, "", v.label("broker")+v.brokerState(&m))
	lines = append(lines, v.equation(&m)...)
	return append(append(lines, ""), v.records(&m.seen)...)
}

func (v *view) label(s string) string { return v.colors.Dim(term.Pad(" "+s, labelWidth)) }

func (v *view) progress(at time.Duration) string {
	const width = 44
	done := min(int(at.Seconds()/v.options.duration.Seconds()*width+0.5), width)
	return v.colors.Bold(term.Pad(" ingest demo", labelWidth)) + v.colors.Green(strings.Repeat("━", done)) +
		v.colors.Dim(strings.Repeat("━", width-done)) + fmt.Sprintf("  %.1f of %v", at.Seconds(), v.options.duration)
}

func (v *view) pageAddress() string {
	if v.options.page == "" {
		return ""
	}
	return "   page " + v.options.page
}

// brokerState is how the broker is, and what ingest makes of it.
func (v *view) brokerState(m *moment) string {
	text := v.colors.Green("answers")
	if m.frozen {
		text = v.colors.Red("frozen")
	}
	if m.status == nil {
		return text
	}
	text += "; ingest: " + m.status.Delivery.State.String()
	if n := m.status.Ledger.Spooled; n > 0 {
		text += ", " + term.Count(n) + " events on disk"
	}
	return text
}

// equation is the ledger in two lines.
func (v *view) equation(m *moment) []string {
	if m.status == nil {
		return []string{"", ""}
	}
	return top.Equation(v.colors, &m.status.Ledger)
}

// flow is the way of the events, with the rates at each of its stations under it, and the rate posted as
// it went.
func (v *view) flow(c *change) []string {
	type station struct{ name, arrow, rate string }
	stations := []station{
		{"platform", "─POST→", c.perSecond(c.posted)},
		{"ring, decode", "─append→", c.perSecond(c.in)},
		{"batches, Kafka", "─fetch→", c.perSecond(c.out)},
		{"consumer", "", c.perSecond(c.seen)},
	}
	top, bottom := " ", " "
	for _, s := range stations {
		width := len([]rune(s.name)) + len([]rune(s.arrow)) + 3
		top += v.colors.Bold(s.name)
		if s.arrow != "" {
			top += " " + v.colors.Dim(s.arrow) + "  "
		}
		bottom += v.colors.Cyan(term.Pad(s.rate, width))
	}
	return []string{top, bottom, v.label("events/s") + v.colors.Cyan(v.history())}
}

// history is the rate of posting from moment to moment.
func (v *view) history() string {
	var rates []float64
	for i := 1; i < len(v.moments); i++ {
		a, b := &v.moments[i-1], &v.moments[i]
		if b.at-a.at < frameEvery/2 {
			continue // the last frame may come right behind the one before: too short for a rate
		}
		rates = append(rates, float64(b.traffic.events-a.traffic.events)/max((b.at-a.at).Seconds(), 1e-3))
	}
	if len(rates) == 0 {
		return ""
	}
	return term.Pad(term.Spark(rates), keep) + fmt.Sprintf(" %s max", term.Count(slices.Max(rates)))
}

// answers counts what was not simply taken.
func (v *view) answers(s *trafficStats) string {
	text := v.colors.Green(term.Count(s.bodies) + " × 200")
	if s.refusals > 0 {
		text += "  " + v.colors.Yellow(term.Count(s.refusals)+" refused")
	}
	if s.unanswered > 0 {
		text += "  " + v.colors.Red(term.Count(s.unanswered)+" unanswered")
	}
	return text
}

// fill is a bar for something bounded.
func (v *view) fill(name string, f fill, peak float64, unit func(float64) string, noun string) string {
	paint := v.colors.Green
	switch share := f.share(); {
	case share > 0.9:
		paint = v.colors.Red
	case share > 0.6:
		paint = v.colors.Yellow
	}
	text := fmt.Sprintf("%s of %s %s", unit(f.used), unit(f.limit), noun)
	return v.label(name) + paint(term.Bar(f.share(), barWidth)) + "  " + term.Pad(text, 24) + v.colors.Dim("peak "+unit(peak))
}

// deadLetters counts them by reason, on two lines.
func (v *view) deadLetters(s *consumerStats) []string {
	const perLine, width = 3, 9
	reasons := byReason(s.reasons)
	first := min(perLine, len(reasons))
	return []string{
		v.label("dead letters") + v.colors.Yellow(term.Pad(term.Count(s.dead), width)) + strings.Join(reasons[:first], "   "),
		strings.Repeat(" ", labelWidth+width) + strings.Join(reasons[first:], "   "),
	}
}

// records is the last record of a partition, and the last dead letter.
func (v *view) records(s *consumerStats) []string {
	return []string{
		v.colors.Dim(" the last record and dead letter, as a consumer (" + consumerLibrary + ") reads them"),
		v.record("p0", s, place{topic, 0}), v.record("dlq", s, place{deadTopic, 0}),
	}
}

func (v *view) record(name string, s *consumerStats, at place) string {
	r, ok := s.last[at]
	if !ok {
		return v.colors.Dim(" " + term.Pad(name, 4) + "-")
	}
	key := term.Shorten(term.Printable([]byte(r.key)), 9)
	switch {
	case at.topic == deadTopic:
		key = r.reason
	case key == "":
		key = "(no key)"
	}
	head := " " + term.Pad(name, 4) + term.Pad("@"+term.Count(r.offset), 10) + term.Pad(key, 14)
	value := term.Shorten(term.Printable(r.value), frameWidth-len([]rune(head)))
	if at.topic == deadTopic {
		return v.colors.Yellow(head) + value
	}
	return v.colors.Cyan(head) + value
}
