package main

import (
	"fmt"
	"strings"

	"functiongraph-ingest/internal/simulator"
	"functiongraph-ingest/internal/term"
)

// summary is the account at the end.
func summary(c term.Colors, ev *finished, differences []string) []string {
	label := func(s string) string { return c.Dim(term.Pad(" "+s, labelWidth)) }
	s, seen, hist := &ev.traffic, &ev.last.seen, &ev.last.latency
	lines := []string{
		c.Bold(" what the platform saw") + c.Dim(" (simulated)"),
		label("extension") + fmt.Sprintf("registered after %.1f ms, subscribed after %.1f ms", ev.report.RegisteredMs, ev.report.SubscribedMs),
		label("invocations") + fmt.Sprintf("%s; answered in %s", term.Count(ev.report.Invocations.Sent), ev.report.Invocations.Latency),
		label("SIGTERM") + fmt.Sprintf("ended after %.1f ms, %s", ev.report.Exit.TookMs, ev.report.Exit.Text),
		"",
		c.Bold(" what was posted"),
		label("bodies") + fmt.Sprintf("%s answered 200, %s refused, %s unanswered; %s",
			term.Count(s.bodies), term.Count(s.refusals), term.Count(s.unanswered), term.Size(float64(s.bytes))),
		label("events") + fmt.Sprintf("%s good, %s broken", term.Count(s.good), term.Count(s.dead)),
		label("broken") + breakages(s.broken, "\n"+strings.Repeat(" ", labelWidth)),
		label("POST → ack") + fmt.Sprintf("p50 %s   p99 %s   max %s", term.Millis(hist.Quantile(0.5)), term.Millis(hist.Quantile(0.99)), term.Millis(hist.Max())),
		"",
		c.Bold(" what ingest says") + c.Dim(", its last line"),
		label("ledger") + ledgerLine(ev),
		label("") + looksLine(ev),
		label("outage") + outageLine(ev),
		label("process") + process(ev),
		"",
		c.Bold(" what the consumer read") + c.Dim(" ("+consumerLibrary+")"),
		label("topics") + fmt.Sprintf("%s events from %d partitions, %s dead letters", term.Count(seen.events), partitions, term.Count(seen.dead)),
		label("") + strings.Join(byReason(seen.reasons), ", "),
		"",
	}
	if len(differences) == 0 {
		return append(lines, " "+c.Green(c.Bold("✔ every event is accounted for"))+": consumed once, unchanged, in order")
	}
	lines = append(lines, " "+c.Red(c.Bold("✘ not every event is accounted for")))
	for _, d := range differences {
		lines = append(lines, "   "+c.Red("•")+" "+d)
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
		text += b.String() + " " + term.Count(n[b])
	}
	return text
}

func process(ev *finished) string {
	text := fmt.Sprintf("exit code %d, %.2f CPU-s", ev.report.Exit.Code, ev.report.Process.CPUMs/1000)
	if g := &ev.last.gauges; g.rss > 0 { // 0: it was never asked
		text += fmt.Sprintf(", %s resident", term.Size(g.rss))
	}
	return text
}

func ledgerLine(ev *finished) string {
	l := ev.ledger
	if l == nil {
		return "none"
	}
	text := fmt.Sprintf("admitted %s = delivered %s + dead letters %s", term.Count(l.Admitted), term.Count(l.Delivered), term.Count(l.DeadLettered))
	for _, t := range []struct {
		name string
		n    int64
	}{{"set aside", l.SetAside}, {"spooled", l.Spooled}, {"in flight", l.InFlight}, {"dropped", l.Dropped.Sum()}} {
		if t.n > 0 {
			text += fmt.Sprintf(" + %s %s", t.name, term.Count(t.n))
		}
	}
	return text
}

// looksLine is what there is to say beside the equation.
func looksLine(ev *finished) string {
	if ev.ledger == nil {
		return ""
	}
	text := fmt.Sprintf("added up at %d of %d looks; own lines left out %s", ev.looks.all-ev.looks.unbalanced, ev.looks.all, term.Count(ev.ledger.OwnLines))
	if n := ev.ledger.DuplicatesSuppressed; n > 0 {
		text += fmt.Sprintf("; %s resends recognised", term.Count(n))
	}
	return text
}

// outageLine is what the broker's freeze did.
func outageLine(ev *finished) string {
	switch {
	case !ev.frozen:
		return "none, the run was too short"
	case ev.ledger == nil:
		return "the broker froze"
	}
	return fmt.Sprintf("the broker froze; at most %s events on disk, %s at the end", term.Count(ev.spooled), term.Count(ev.ledger.Spooled))
}

// logTail is the end of what ingest printed, for finding the reason of a difference.
func logTail(printed []string) []string {
	return append([]string{"", " the end of ingest's log:"}, printed...)
}
