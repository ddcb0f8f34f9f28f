package suite

import (
	"cmp"
	"slices"

	"functiongraph-ingest/bench/plot"
)

// charts are the pictures that a scenario can ask for.
var charts = map[string]func(*Result) []*plot.Chart{
	"latency-throughput": latencyThroughput,
	"cost-rate":          costRate,
	"overload":           overload,
	"over-time":          overTime,
	"cost":               cost,
}

const rateLabel = "events per second answered 200"

// Charts draws what the scenario asks for.
func (r *Result) Charts() (all []*plot.Chart) {
	for _, name := range r.Scenario.Charts {
		all = append(all, charts[name](r)...)
	}
	for _, c := range all {
		c.Caption = r.how()
	}
	return all
}

// curve is a value of the open loads of one target by another value, in the order of the loads; medians of the
// rounds.
func (r *Result) curve(target string, x, y func(*Row) float64) (points []plot.Point) {
	for _, w := range r.Summary() {
		if l := r.load(w.Load); w.Target == target && w.Offered > 0 && l.Search == nil {
			points = append(points, plot.Point{X: x(w), Y: y(w)})
		}
	}
	slices.SortFunc(points, func(a, b plot.Point) int { return cmp.Compare(a.X, b.X) })
	return points
}

func (r *Result) label(target, what string) string {
	if len(r.Scenario.Targets) == 1 {
		return what
	}
	return target + " " + what
}

func rate(w *Row) float64    { return w.EventsPerSec }
func offered(w *Row) float64 { return w.Offered }

func latencyThroughput(r *Result) []*plot.Chart {
	c := &plot.Chart{
		Title: "Latency from the intended POST to the ack, by throughput",
		X:     plot.Axis{Label: rateLabel}, Y: plot.Axis{Label: "milliseconds (log)", Log: true},
	}
	for _, t := range r.Scenario.Targets {
		for _, q := range []struct {
			name string
			of   func(*Row) float64
		}{
			{"p50", func(w *Row) float64 { return w.P50 }}, {"p99", func(w *Row) float64 { return w.P99 }},
			{"p99.9", func(w *Row) float64 { return w.P999 }},
		} {
			c.Series = append(c.Series, plot.Series{Name: r.label(t.Name, q.name), Points: r.curve(t.Name, rate, q.of)})
		}
	}
	return []*plot.Chart{c}
}

func costRate(r *Result) []*plot.Chart {
	perEvent := &plot.Chart{
		Title: "CPU time per event, by throughput",
		X:     plot.Axis{Label: rateLabel + " (log)", Log: true}, Y: plot.Axis{Label: "microseconds of CPU per event"},
	}
	cores := &plot.Chart{Title: "Cores in use, by throughput", X: plot.Axis{Label: rateLabel}, Y: plot.Axis{Label: "cores"}}
	for _, t := range r.Scenario.Targets {
		perEvent.Series = append(perEvent.Series, plot.Series{Name: t.Name, Points: r.curve(t.Name, rate, func(w *Row) float64 { return ratio(1e6, w.EventsPerCPU) })})
		cores.Series = append(cores.Series, plot.Series{Name: t.Name, Points: r.curve(t.Name, rate, func(w *Row) float64 { return w.Cores })})
	}
	return []*plot.Chart{perEvent, cores}
}

// overload shows what happens from below to far above of what a target can do, in multiples of the first load.
func overload(r *Result) []*plot.Chart {
	const label = "offered load, in multiples of the most it takes"
	goodput := &plot.Chart{Title: "Goodput under overload", X: plot.Axis{Label: label}, Y: plot.Axis{Label: "events per second"}}
	times := &plot.Chart{
		Title: "Time to an answer under overload", X: plot.Axis{Label: label},
		Y: plot.Axis{Label: "milliseconds (log)", Log: true},
	}
	memory := &plot.Chart{Title: "Peak memory under overload", X: plot.Axis{Label: label}, Y: plot.Axis{Label: "MiB resident"}}
	for _, t := range r.Scenario.Targets {
		capacity := 0.0
		for _, w := range r.Summary() {
			if w.Target == t.Name && w.Load == r.Scenario.Loads[0].Name {
				capacity = w.EventsPerSec
			}
		}
		line := func(y func(*Row) float64) []plot.Point {
			points := r.curve(t.Name, offered, y)
			for i := range points {
				points[i].X = ratio(points[i].X, capacity)
			}
			return points
		}
		goodput.Series = append(goodput.Series,
			plot.Series{Name: r.label(t.Name, "answered 200"), Points: line(rate)},
			plot.Series{Name: r.label(t.Name, "offered"), Points: line(offered), Dashed: true, Bare: true})
		times.Series = append(times.Series,
			plot.Series{Name: r.label(t.Name, "200, p50"), Points: line(func(w *Row) float64 { return w.P50 })},
			plot.Series{Name: r.label(t.Name, "200, p99"), Points: line(func(w *Row) float64 { return w.P99 })},
			plot.Series{Name: r.label(t.Name, "503, p99"), Points: line(func(w *Row) float64 { return w.RefusedP99 })})
		memory.Series = append(memory.Series, plot.Series{Name: t.Name, Points: line(func(w *Row) float64 { return float64(w.PeakRSS) / (1 << 20) })})
	}
	return []*plot.Chart{goodput, times, memory}
}

// overTime shows the last load of each target, of the last round.
func overTime(r *Result) []*plot.Chart {
	l := r.Scenario.Loads[len(r.Scenario.Loads)-1]
	var spans []plot.Span
	for _, f := range l.Faults {
		from := (l.WarmUp + f.At).seconds()
		spans = append(spans, plot.Span{From: from, To: from + f.For.seconds(), Name: "broker " + faultWord(f.Kind)})
	}
	x := plot.Axis{Label: "seconds"}
	through := &plot.Chart{Title: "Events over time", X: x, Y: plot.Axis{Label: "events per second"}, Spans: spans}
	if l.Rate > 0 { // what waited is delivered much faster than it came
		through.Y.Max = 3 * l.Rate
	}
	latency := &plot.Chart{Title: "Latency from the intended POST, over time", X: x, Y: plot.Axis{Label: "milliseconds (log)", Log: true}, Spans: spans}
	refused := &plot.Chart{Title: "Refusals over time", X: x, Y: plot.Axis{Label: "bodies per second"}, Spans: spans}
	memory := &plot.Chart{Title: "Memory over time", X: x, Y: plot.Axis{Label: "MiB resident"}, Spans: spans}
	for _, t := range r.Scenario.Targets {
		row := r.last(t.Name, l.Name)
		if row == nil {
			continue
		}
		window := func(name string, y func(Window) float64) plot.Series {
			s := plot.Series{Name: name, Bare: true}
			for _, w := range row.Windows {
				s.Points = append(s.Points, plot.Point{X: w.At, Y: y(w)})
			}
			return s
		}
		delivered := plot.Series{Name: r.label(t.Name, "delivered to Kafka"), Bare: true}
		rss := plot.Series{Name: t.Name, Bare: true}
		for i, s := range row.Samples {
			rss.Points = append(rss.Points, plot.Point{X: s.At, Y: float64(s.RSS) / (1 << 20)})
			if i > 0 {
				last := row.Samples[i-1]
				delivered.Points = append(delivered.Points, plot.Point{X: s.At, Y: ratio(s.Delivered-last.Delivered, s.At-last.At)})
			}
		}
		through.Series = append(through.Series, window(r.label(t.Name, "answered 200"), func(w Window) float64 { return w.Events }), delivered)
		latency.Series = append(latency.Series, window(r.label(t.Name, "p50"), func(w Window) float64 { return w.P50 }),
			window(r.label(t.Name, "p99"), func(w Window) float64 { return w.P99 }))
		refused.Series = append(refused.Series, window(t.Name, func(w Window) float64 { return w.Refused }))
		memory.Series = append(memory.Series, rss)
	}
	return []*plot.Chart{through, latency, refused, memory}
}

// last is the row of the last round.
func (r *Result) last(target, load string) (row *Row) {
	for _, w := range r.Rows {
		if w.Target == target && w.Load == load {
			row = w
		}
	}
	return row
}

func faultWord(kind string) string {
	return map[string]string{"freeze": "frozen", "kill": "killed", "stop": "stopped"}[kind]
}

// cost shows CPU per event of every load, the loads side by side.
func cost(r *Result) []*plot.Chart {
	c := &plot.Chart{
		Title: "CPU time per event, by events in a body",
		X:     plot.Axis{Label: "events in a body (log)", Log: true}, Y: plot.Axis{Label: "microseconds of CPU per event (log)", Log: true},
	}
	for _, t := range r.Scenario.Targets {
		var points []plot.Point
		for _, w := range r.Summary() {
			l := r.load(w.Load)
			if w.Target == t.Name && l != nil && l.Conns == 16 && l.perBody() > 0 {
				points = append(points, plot.Point{X: l.perBody(), Y: ratio(1e6, w.EventsPerCPU)})
			}
		}
		c.Series = append(c.Series, plot.Series{Name: t.Name, Points: points})
	}
	return []*plot.Chart{c}
}
