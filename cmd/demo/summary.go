package main

import (
	"fmt"
	"strings"

	"functiongraph-ingest/internal/simulator"
)

// summary is the account at the end.
func summary(c colors, ev *finished, differences []string) []string {
	label := func(s string) string { return c.dim(pad(" "+s, labelWidth)) }
	s, seen, hist := &ev.traffic, &ev.last.seen, &ev.last.latency
	lines := []string{
		"",
		c.bold(" what the platform saw") + c.dim(" (simulated)"),
		label("extension") + fmt.Sprintf("registered after %.1f ms, subscribed after %.1f ms", ev.report.RegisteredMs, ev.report.SubscribedMs),
		label("invocations") + fmt.Sprintf("%s; answered in %s", count(ev.report.Invocations.Sent), ev.report.Invocations.Latency),
		label("SIGTERM") + fmt.Sprintf("ended after %.1f ms, %s", ev.report.Exit.TookMs, ev.report.Exit.Text),
		"",
		c.bold(" what was posted"),
		label("bodies") + fmt.Sprintf("%s answered 200, %s refused, %s unanswered; %s",
			count(s.bodies), count(s.refusals), count(s.unanswered), size(float64(s.bytes))),
		label("events") + fmt.Sprintf("%s good, %s broken", count(s.good), count(s.dead)),
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
	text := fmt.Sprintf("exit code %d, %.2f CPU-s", ev.report.Exit.Code, ev.report.Process.CPUMs/1000)
	if g := &ev.last.gauges; g.rss > 0 { // 0: it was never asked
		text += fmt.Sprintf(", %s resident", size(g.rss))
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
	if l.OwnLines > 0 {
		text += fmt.Sprintf("; own lines left out %s", count(l.OwnLines))
	}
	if l.DuplicatesSuppressed > 0 {
		text += fmt.Sprintf("; %s duplicates suppressed", count(l.DuplicatesSuppressed))
	}
	return text
}

// logTail is the end of what ingest printed, for finding the reason of a difference.
func logTail(printed []string) []string {
	return append([]string{"", " the end of ingest's log:"}, printed...)
}
