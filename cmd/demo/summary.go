package main

import (
	"fmt"
	"strings"
	"time"

	"functiongraph-ingest/internal/simulator"
)

// summary is the account at the end.
func summary(c colors, ev *finished, differences []string) []string {
	var good, dead int
	for _, p := range ev.posted {
		if p.dead {
			dead++
		} else {
			good++
		}
	}
	label := func(s string) string { return c.dim(pad(" "+s, labelWidth)) }
	s, seen, hist := &ev.traffic, &ev.last.seen, &ev.last.latency
	seconds := max(ev.took.Seconds(), 1e-3)
	lines := []string{
		"",
		c.bold(" what was posted"),
		label("bodies") + fmt.Sprintf("%s answered 200, %s refused and sent again, %s in %v",
			count(s.bodies), count(s.refusals), size(float64(s.bytes)), ev.took.Round(10*time.Millisecond)),
		label("events") + fmt.Sprintf("%s good, %s broken; %s/s", count(good), count(dead), count(float64(s.events)/seconds)),
		label("broken") + breakages(s.broken, "\n"+strings.Repeat(" ", labelWidth)),
		label("POST → ack") + fmt.Sprintf("p50 %s   p99 %s   max %s", millis(hist.Quantile(0.5)), millis(hist.Quantile(0.99)), millis(hist.Max())),
		"",
		c.bold(" what ingest says") + c.dim(", its last line"),
		label("ledger") + ledgerLine(ev),
		label("process") + process(ev),
		"",
		c.bold(" what the consumer read") + c.dim(" ("+consumerLibrary+")"),
		label(topic) + count(seen.events) + " events from " + count(partitions) + " partitions",
		label(deadTopic) + count(seen.dead) + " dead letters",
		label("") + strings.Join(byReason(seen.reasons), ", "),
		"",
	}
	if len(differences) == 0 {
		return append(lines, " "+c.green(c.bold("✔ every event is accounted for"))+": consumed once, unchanged, in order")
	}
	lines = append(lines, " "+c.red(c.bold("✘ not every event is accounted for")))
	for _, d := range differences {
		lines = append(lines, "   "+c.red("•")+" "+d)
	}
	return lines
}

// breakages lists what was broken, on two lines.
func breakages(n map[simulator.Breakage]int64, newLine string) string {
	text := ""
	for b := simulator.TrailingComma; b <= simulator.NotJSON; b++ {
		switch b {
		case simulator.TrailingComma:
		case simulator.TruncatedBody:
			text += "," + newLine
		default:
			text += ", "
		}
		text += b.String() + " " + count(n[b])
	}
	return text
}

func process(ev *finished) string {
	text := fmt.Sprintf("exit code %d", ev.exitCode)
	if g := &ev.last.gauges; g.rss > 0 { // 0: it had ended before it was asked
		text += fmt.Sprintf(", %s resident, %.2f CPU-s", size(g.rss), g.cpuSeconds)
	}
	return text
}

func ledgerLine(ev *finished) string {
	l := ev.ledger
	if l == nil {
		return "none"
	}
	text := fmt.Sprintf("admitted %s = delivered %s + dead letters %s", count(l.Admitted), count(l.Delivered), count(l.DeadLettered))
	for _, term := range []struct {
		name string
		n    int64
	}{{"set aside", l.SetAside}, {"spooled", l.Spooled}, {"in flight", l.InFlight}, {"dropped", l.Dropped.Sum()}} {
		if term.n > 0 {
			text += fmt.Sprintf(" + %s %s", term.name, count(term.n))
		}
	}
	if l.DuplicatesSuppressed > 0 {
		text += fmt.Sprintf("; %s duplicates suppressed", count(l.DuplicatesSuppressed))
	}
	return text
}

// logTail is the end of ingest's log, for whoever looks for the reason of a difference.
func logTail(log string) []string {
	const most = 15
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return append([]string{"", " the end of ingest's log:"}, lines[max(0, len(lines)-most):]...)
}
