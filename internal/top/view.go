package top

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/term"
	"functiongraph-ingest/pkg/sink"
)

const (
	keep       = 61 // moments: a minute and its beginning
	rateOver   = 4 * time.Second
	labelWidth = 14
	barWidth   = 24
	sparkWidth = 44
)

// view turns what was heard into text.
type view struct {
	address string
	colors  term.Colors
	moments []*moment // the latest keep; never empty when frame is called
	problem error     // why there is nothing newer; nil: there is
}

// add takes what was heard last. A process that was started again begins anew.
func (v *view) add(m *moment) {
	if n := len(v.moments); n > 0 && !v.moments[n-1].status.Started.Equal(m.status.Started) {
		v.moments = nil
	}
	if v.moments = append(v.moments, m); len(v.moments) > keep {
		v.moments = v.moments[1:]
	}
}

// frame is a screen of the last moment: at most height lines of width cells.
func (v *view) frame(width, height int) []string {
	m := v.moments[len(v.moments)-1]
	s := &m.status
	lines := v.head(m, width)
	lines = append(lines, "")
	lines = append(lines, v.flow()...)
	lines = append(lines, v.latency(), "")
	lines = append(lines, v.room(m)...)
	lines = append(lines, "")
	lines = append(lines, Equation(v.colors, &s.Ledger)...)
	lines = append(lines, v.beside(&s.Ledger), "")
	lines = append(lines, v.deadLetters(m, width)...)
	lines = append(lines, v.partitions(s.Inside, width)...)
	return lines[:min(len(lines), height)]
}

func (v *view) label(s string) string { return v.colors.Dim(term.Pad(" "+s, labelWidth)) }

// head is the process, and whether its events reach their destination.
func (v *view) head(m *moment, width int) []string {
	s, d := &m.status, &m.status.Delivery
	lines := []string{" " + v.colors.Bold(clean(s.Version, 30)) + v.colors.Dim("  up "+span(time.Duration(s.UptimeSeconds*float64(time.Second)))+"  "+clean(v.address, 25))}
	if v.problem != nil {
		lines[0] = " " + v.colors.Red(clean(v.problem.Error(), width-1))
	}
	paint := v.colors.Yellow
	switch d.State {
	case sink.Idle, sink.Delivering:
		paint = v.colors.Green
	case sink.Failed, sink.Blocked:
		paint = v.colors.Red
	}
	text := fmt.Sprintf(", %s events wait", term.Count(d.Waiting))
	if d.SpooledEvents > 0 {
		text += fmt.Sprintf(", %s of them on disk (%s)", term.Count(d.SpooledEvents), term.Size(float64(d.SpooledBytes)))
	}
	if !d.Since.IsZero() {
		text = " for " + span(m.at.Sub(d.Since)) + text
	}
	lines = append(lines, " "+paint(v.colors.Bold(d.State.String()))+text)
	for _, t := range []struct {
		what string
		sink.Trouble
	}{{"", d.Trouble}, {"dead letters: ", d.DeadLetters}, {"spool: ", d.Spool}} {
		if t.Kind != "" {
			lines = append(lines, "   "+clean(t.what+t.Reason, width-3), "   "+v.colors.Bold(clean(t.Remedy, width-3)))
		}
	}
	if !s.Ready {
		lines = append(lines, "   "+v.colors.Red(clean("not ready: "+s.NotReady, width-3)))
	}
	return lines
}

// rate is the change per second of what f tells, over the last seconds.
func (v *view) rate(f func(*moment) float64) float64 {
	now := v.moments[len(v.moments)-1]
	before := v.moments[0]
	for _, m := range slices.Backward(v.moments) {
		if before = m; now.at.Sub(m.at) >= rateOver {
			break
		}
	}
	return perSecond(f, before, now)
}

func perSecond(f func(*moment) float64, a, b *moment) float64 {
	if d := b.at.Sub(a.at).Seconds(); d > 0 {
		return max(0, (f(b)-f(a))/d)
	}
	return 0
}

func taken(m *moment) float64 { return float64(m.status.Ledger.Admitted) }

func settled(m *moment) float64 {
	l := &m.status.Ledger
	return float64(l.Delivered + l.DeadLettered + l.SetAside)
}

func (v *view) flow() []string {
	line := func(name string, f func(*moment) float64, paint func(string) string) string {
		var rates []float64
		for i := max(1, len(v.moments)-sparkWidth); i < len(v.moments); i++ {
			rates = append(rates, perSecond(f, v.moments[i-1], v.moments[i]))
		}
		return v.label(name) + term.Pad(term.Count(v.rate(f))+" events/s", 20) + paint(term.Spark(rates))
	}
	m := v.moments[len(v.moments)-1]
	return []string{
		line("in", taken, v.colors.Cyan), line("out", settled, v.colors.Green),
		v.label("process") + fmt.Sprintf("%s bodies/s, %.1f %% of a core, %s resident", term.Count(v.rate(func(m *moment) float64 { return float64(m.status.Ledger.Bodies.Admitted) })),
			100*v.rate(func(m *moment) float64 { return m.values["process_cpu_seconds_total"] }), term.Size(m.values["process_resident_memory_bytes"])),
	}
}

// latency is of the last minute.
func (v *view) latency() string {
	now := v.moments[len(v.moments)-1]
	var parts []string
	for _, h := range [][2]string{{"POST", "ingest_listen_answer_seconds"}, {"Kafka", "ingest_kafka_request_seconds"}, {"age", "ingest_delivery_age_seconds"}} {
		var before []bucket
		if len(v.moments) > 1 {
			before = v.moments[0].buckets[h[1]]
		}
		if b := now.buckets[h[1]]; b != nil {
			parts = append(parts, h[0]+" "+seconds(quantile(before, b, 0.5))+" / "+seconds(quantile(before, b, 0.99)))
		}
	}
	return v.label("p50 / p99") + strings.Join(parts, "   ")
}

// room is how full everything is that has a bound.
func (v *view) room(m *moment) (lines []string) {
	for _, r := range []struct {
		name, metric, unit string
		text               func(float64) string
	}{
		{"ring", "ingest_ring", "bodies", term.Count[float64]}, {"gate", "ingest_gate", "bytes", term.Size}, {"buffers", "ingest_kafka_buffers", "bytes", term.Size},
		{"spool", "ingest_spool", "bytes", term.Size}, {"connections", "ingest_listen", "connections", term.Count[float64]},
	} {
		used, ok := m.values[r.metric+"_used_"+r.unit]
		limit := m.values[r.metric+"_limit_"+r.unit]
		if !ok {
			continue
		}
		share := 0.0
		if limit > 0 {
			share = min(1, max(0, used/limit))
		}
		paint := v.colors.Green
		if share > 0.9 {
			paint = v.colors.Red
		} else if share > 0.6 {
			paint = v.colors.Yellow
		}
		lines = append(lines, v.label(r.name)+paint(term.Bar(share, barWidth))+"  "+r.text(used)+" of "+r.text(limit))
	}
	return lines
}

// Equation is the ledger in two lines: its terms, and whether they add up.
func Equation(c term.Colors, l *ledger.Ledger) []string {
	text := term.Count(l.Admitted) + " admitted"
	if l.Recovered > 0 {
		text += " + " + term.Count(l.Recovered) + " recovered"
	}
	sign := " = "
	for _, t := range []struct {
		n      int64
		name   string
		always bool
	}{{l.Delivered, "delivered", true}, {l.DeadLettered, "dead", true}, {l.SetAside, "set aside", false}, {l.Spooled, "disk", true}, {l.InFlight, "memory", true}, {l.Dropped.Sum(), "dropped", false}} {
		if t.n != 0 || t.always {
			text += sign + term.Count(t.n) + " " + t.name
			sign = " + "
		}
	}
	left := term.Count(l.Admitted + l.Recovered)
	verdict := c.Green(left + " = " + left + " ✔ every event is accounted for")
	if n := l.Missing(); n != 0 {
		verdict = c.Red(fmt.Sprintf("%s ≠ %s ✘ out of balance by %d", left, term.Count(l.Admitted+l.Recovered-n), n))
	}
	return []string{" " + text, " " + verdict}
}

// beside is what is no term of the equation.
func (v *view) beside(l *ledger.Ledger) string {
	text := fmt.Sprintf("%s bodies not decoded yet, %s refused, %s possible duplicates", term.Count(l.Waiting.Bodies), term.Count(l.Bodies.Refused.Sum()), term.Count(l.PossibleDuplicates))
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for k := range l.Dropped {
			if !yield(k) {
				return
			}
		}
	}) {
		text += ", dropped: " + clean(name, 24) + " " + term.Count(l.Dropped[name])
	}
	return " " + v.colors.Dim(text)
}

func (v *view) deadLetters(m *moment, width int) []string {
	slices.SortFunc(m.reasons, func(a, b reason) int { return cmp.Or(cmp.Compare(b.n, a.n), strings.Compare(a.name, b.name)) })
	var words []string
	for _, r := range m.reasons {
		words = append(words, r.name+" "+term.Count(r.n))
	}
	if words == nil {
		words = []string{"none"}
	}
	lines := []string{v.label("dead letters") + " " + clean(strings.Join(words, "  "), width-labelWidth-2)}
	if in := m.status.Inside; in != nil && len(in.DeadLetters) > 0 {
		d := in.DeadLetters[0]
		text := span(m.at.Sub(d.Time)) + " ago: " + d.Reason
		switch {
		case d.Topic == "":
			text += fmt.Sprintf(" at offset %d of body %d", d.Offset, d.Body)
		case d.Partition < 0:
			text += " for " + d.Topic + ": " + d.Error
		default:
			text += fmt.Sprintf(" for %s/%d: %s", d.Topic, d.Partition, d.Error)
		}
		lines = append(lines, v.label("")+" "+v.colors.Yellow(clean(text+" "+d.Content, width-labelWidth-2)))
	}
	return lines
}

// partitions are those of which there is something to say.
func (v *view) partitions(in *sink.Inside, width int) (lines []string) {
	if in == nil {
		return nil
	}
	lines = append(lines, v.label("partitions")+" "+term.Count(in.AllPartitions))
	for _, p := range in.Partitions {
		if p.Waiting == 0 && p.Spooled == 0 && p.Trouble.Kind == "" {
			continue
		}
		name := fmt.Sprintf("%s/%d leader %d", p.Topic, p.Partition, p.Leader)
		if p.Partition < 0 {
			name = p.Topic + ", partitions not known yet"
		}
		text := fmt.Sprintf("%s: %s events in memory, %s on disk", name, term.Count(p.Waiting), term.Size(float64(p.Spooled)))
		if p.Trouble.Kind != "" {
			text += "; " + p.Trouble.Reason
		}
		lines = append(lines, "   "+clean(text, width-3))
	}
	return lines
}

// clean is foreign text that a terminal shows and does not obey, within width cells.
func clean(s string, width int) string {
	return term.Shorten(term.Printable([]byte(s)), max(width, 3))
}

// span is a duration in one or two units.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// seconds is a latency; NaN: none.
func seconds(s float64) string {
	switch {
	case math.IsNaN(s):
		return "-"
	case s < 1:
		return term.Millis(time.Duration(s * float64(time.Second)))
	}
	return fmt.Sprintf("%.1f s", s)
}
