package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Report is everything that a run found out.
type Report struct {
	Machine Machine   `json:"machine"`
	Results []*Result `json:"results"`
	LeftOut []string  `json:"leftOut,omitempty"` // scenarios that could not be run here, and why
}

// Problems are what must not be, one line each.
func (r *Report) Problems() (list []string) {
	for _, s := range r.Results {
		list = append(list, s.Problems()...)
	}
	return list
}

// Markdown writes the machine and, for each scenario, what was run, its table and, if wanted, its pictures, which are files
// beside it.
func (r *Report) Markdown(w io.Writer, pictures bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Machine.String())
	if r.Machine.Note != "" {
		fmt.Fprintf(&b, "\n%s\n", r.Machine.Note)
	}
	for _, why := range r.LeftOut {
		fmt.Fprintf(&b, "\nLeft out: %s\n", why)
	}
	for _, s := range r.Results {
		head, rows := s.table()
		fmt.Fprintf(&b, "\n**%s**\n\n", s.Scenario.Title)
		if pictures {
			fmt.Fprintf(&b, "%s (%s.)\n\n", s.Scenario.Text, s.how())
		}
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
		for _, row := range rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
		for i, p := range s.Pairs() {
			if i == 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "- %s\n", p)
		}
		for i, c := range s.Charts() {
			if pictures {
				fmt.Fprintf(&b, "\n![%s](%s)\n", c.Title, s.picture(i))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Benchmarks writes one line per row in Go's benchmark format, which benchstat reads; -col /target compares targets.
func (r *Report) Benchmarks(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Results {
		for _, row := range s.Rows {
			name := strings.NewReplacer(" ", "_", ",", "").Replace(s.Scenario.Name + "/target=" + row.Target + "/" + row.Load)
			fmt.Fprintf(&b, "BenchmarkSuite/%s 1 %.0f events/s %.4f cpu-us/event %.3f p99-ms %.1f peak-MB\n",
				name, row.EventsPerSec, ratio(1e6, row.EventsPerCPU), row.P99, float64(row.PeakRSS)/1e6)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// HTML writes a page that stands by itself.
func (r *Report) HTML(w io.Writer) error { return page.Execute(w, r.view()) }

type view struct {
	Machine  Machine
	Problems []string
	LeftOut  []string
	Sections []section
}

type section struct {
	Name, Title, Text, How string
	Head                   []string
	Rows                   [][]string
	Pairs                  []Pairs
	Charts                 []template.HTML
}

func (r *Report) view() *view {
	v := &view{Machine: r.Machine, Problems: r.Problems(), LeftOut: r.LeftOut}
	for _, s := range r.Results {
		head, rows := s.table()
		x := section{Name: s.Scenario.Name, Title: s.Scenario.Title, Text: s.Scenario.Text, How: s.how(), Head: head, Rows: rows, Pairs: s.Pairs()}
		for _, c := range s.Charts() {
			x.Charts = append(x.Charts, template.HTML(c.SVG())) //nolint:gosec // made here, and escaped there
		}
		v.Sections = append(v.Sections, x)
	}
	return v
}

// picture is the file of a chart.
func (r *Result) picture(i int) string { return fmt.Sprintf("%s-%d.svg", r.Scenario.Name, i+1) }

// how says in one line what was run, and where, if that was not the report's own run.
func (r *Result) how() string {
	text := r.Scenario.how()
	if r.Machine != nil {
		text += fmt.Sprintf("; commit %s, %s", r.Machine.Commit, r.Machine.Time.Format("2006-01-02"))
	}
	return text
}

// how says in one line what was run.
func (s *Scenario) how() string {
	kafka := fmt.Sprintf("%s, %s", plural(s.Kafka.Brokers, "broker"), plural(s.Kafka.Partitions, "partition"))
	if s.Kafka.Embedded {
		kafka = fmt.Sprintf("an imitation of Kafka in the suite's own process, %d partitions", s.Kafka.Partitions)
	}
	least, most := s.Loads[0].Duration, s.Loads[0].Duration
	for _, l := range s.Loads {
		least, most = min(least, l.Duration), max(most, l.Duration)
	}
	measured := least.String()
	if most != least {
		measured += " to " + most.String()
	}
	rounds := plural(s.Rounds, "round")
	if s.Interleaved {
		rounds += " of all targets in turn, which run side by side"
	}
	text := fmt.Sprintf("%s; %s; %s measured per load, after a warm-up", kafka, rounds, measured)
	if l := s.Loads[0]; len(s.Loads) == 1 && l.Rate > 0 {
		text = fmt.Sprintf("%s events/s over %d connections; %s", thousands(l.Rate), l.Conns, text)
	}
	if s.CPU > 0 {
		text += fmt.Sprintf("; at most %g of a core for the program", s.CPU)
	}
	if len(s.Args) > 0 {
		text += "; ingest serve " + strings.Join(s.Args, " ")
	}
	return text
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// String is as time.Duration's.
func (d Duration) String() string { b, _ := d.MarshalText(); return string(b) }

// Read is the report whose report.json is in dir.
func Read(dir string) (*Report, error) {
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		return nil, err
	}
	r := &Report{}
	return r, json.Unmarshal(b, r)
}

// With is the report with the results of a later run, in the place of the same scenarios or at the end.
func (r *Report) With(later *Report) *Report {
	all := *r
	all.Results = slices.Clone(r.Results)
	for _, s := range later.Results {
		s.Machine = &later.Machine
		same := func(x *Result) bool { return x.Scenario.Name == s.Scenario.Name }
		if i := slices.IndexFunc(all.Results, same); i >= 0 {
			all.Results[i] = s
		} else {
			all.Results = append(all.Results, s)
		}
	}
	return &all
}

// Write makes report.json, report.html, report.md and the pictures as SVG files in dir.
func (r *Report) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	errs := []error{os.WriteFile(filepath.Join(dir, "report.json"), append(b, '\n'), 0o644)}
	markdown := func(w io.Writer) error { return r.Markdown(w, true) }
	for name, write := range map[string]func(io.Writer) error{"report.html": r.HTML, "report.md": markdown} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		errs = append(errs, write(f), f.Close())
	}
	for _, s := range r.Results {
		for i, c := range s.Charts() {
			errs = append(errs, os.WriteFile(filepath.Join(dir, s.picture(i)), []byte(c.SVG()), 0o644))
		}
	}
	return errors.Join(errs...)
}

var page = template.Must(template.New("report").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>ingest: benchmarks</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1340px;margin:2rem auto;padding:0 1.5rem}
h1{font-size:1.6rem;margin-bottom:.3rem}h2{font-size:1.2rem;margin:2.6rem 0 .4rem;border-top:1px solid #ddd;padding-top:1.2rem}
p{max-width:60rem;margin:.4rem 0}.how,.machine{color:#666;font-size:13px}
table{border-collapse:collapse;margin:1rem 0;font-size:13.5px;font-variant-numeric:tabular-nums}
th{text-align:right;font-weight:600;border-bottom:2px solid #888;padding:.3rem .8rem}td{text-align:right;border-bottom:1px solid #e8e8e8;padding:.25rem .8rem}
th:first-child,td:first-child{text-align:left;padding-left:0}
.charts{display:flex;flex-wrap:wrap;gap:1rem}.charts svg{border:1px solid #e4e4e4;border-radius:6px;max-width:100%;height:auto}
.bad{background:#fdecea;border:1px solid #d55e00;border-radius:6px;padding:.6rem 1rem}.good{color:#00734f}
</style></head><body>
<h1>ingest: benchmarks</h1>
<p class="machine">{{.Machine.String}}<br>load average at the start {{.Machine.Load}}; the program, the broker and the load generator share the machine, so read ratios before absolute figures.</p>
{{with .Machine.Note}}<p><b>{{.}}</b></p>{{end}}
{{if .Problems}}<div class="bad"><b>Not as it must be:</b><ul>{{range .Problems}}<li>{{.}}</li>{{end}}</ul></div>
{{else}}<p class="good">Everything answered 200 was found at the broker, and every ledger balances.</p>{{end}}
{{range .LeftOut}}<p>Left out: {{.}}</p>{{end}}
{{range .Sections}}<h2 id="{{.Name}}">{{.Title}}</h2>
{{with .Text}}<p>{{.}}</p>{{end}}<p class="how">{{.How}}</p>
<table><tr>{{range .Head}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table>
{{with .Pairs}}<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>
{{end}}<div class="charts">{{range .Charts}}{{.}}{{end}}</div>
{{end}}</body></html>
`))
