package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"functiongraph-ingest/internal/simulator"
)

// Kind is what the events of a profile are.
type Kind string

// The kinds.
const (
	Invocations     Kind = ""                 // start, done, report, log lines, 240 bytes in the mean
	FunctionLogs    Kind = "function-logs"    // log lines of 200 to 2,000 bytes, with escapes
	PlatformReports Kind = "platform-reports" // reports with metrics, about 340 bytes
	Mixed           Kind = "mixed"            // as instances send them: all kinds, slips, bodies of 1 to 200 events
	Hostile         Kind = "hostile"          // as Mixed, a third of the bodies broken, and JSON that is hard on parsers
)

// Profiles are the profiles that have a name.
func Profiles() map[string]Profile {
	return map[string]Profile{
		"1":                {Events: 1},
		"100":              {Events: 100},
		"1000":             {Events: 1000},
		"invocations":      {Events: 100, KeylessLogs: true},
		"function-logs":    {Events: 100, Kind: FunctionLogs, KeylessLogs: true},
		"keyed-logs":       {Events: 100, Kind: FunctionLogs},
		"platform-reports": {Events: 100, Kind: PlatformReports},
		"mixed":            {Kind: Mixed},
		"hostile":          {Kind: Hostile},
	}
}

// Named returns a profile by its name, or an error that lists the names.
func Named(name string) (Profile, error) {
	p, ok := Profiles()[name]
	if !ok {
		names := make([]string, 0, len(Profiles()))
		for n := range Profiles() {
			names = append(names, n)
		}
		slices.Sort(names)
		return p, fmt.Errorf("no profile %q; there are %s", name, strings.Join(names, ", "))
	}
	return p, nil
}

// simulated reports whether the bodies come from the simulator, which decides how many events they have.
func (k Kind) simulated() bool { return k == Mixed || k == Hostile }

// simulate makes bodies of the simulator.
func (p Profile) simulate() ([]*Payload, error) {
	cfg := simulator.Config{Seed: p.Seed, Slips: 0.1}
	if p.Kind == Hostile {
		cfg.Slips, cfg.Broken = 0.3, 0.33
	}
	g := simulator.New(cfg)
	rng := rand.New(rand.NewPCG(p.Seed, 99))
	var out []*Payload
	var d simulator.Delivery
	for range p.Bodies {
		g.Next(&d)
		good, bad := d.Count()
		body := bytes.Clone(d.Body)
		if p.Kind == Hostile && bad == 0 && body[0] == '[' && rng.IntN(2) == 0 {
			body = append(append(body[:len(body)-1], ',', '\n'), hard[rng.IntN(len(hard))]...)
			body = append(body, ']')
			good++
		}
		payload, err := p.request(body)
		if err != nil {
			return nil, err
		}
		payload.events, payload.Bad = make([]span, good+bad), bad
		out = append(out, payload)
	}
	return out, nil
}

// hard are good events that cost parsers more than others.
var hard = []string{
	`{"name":"function","logs":"` + strings.Repeat(`\\\"`, 4000) + `"}`,
	`{"name":"function","deep":` + strings.Repeat(`[`, 500) + strings.Repeat(`]`, 500) + `}`,
	`{"name":"function","n":-0.` + strings.Repeat("1234567890", 300) + `e-300}`,
	`{"name":"function","logs":"` + strings.Repeat(`\u65e5\u672c`, 1000) + `"}`,
	`{"name":"function","logs":"` + strings.Repeat("x", 60_000) + `"}`,
	`{` + strings.Repeat(`"k":{},`, 2000) + `"name":"function"}`,
}

// functionLog appends a log line.
func (w *writer) functionLog(dst []byte) []byte {
	w.trace, w.key = w.newKey()
	size := 60 + int(w.rng.ExpFloat64()*200)
	return w.log(dst, 200+min(size, 1800))
}

// platformReport appends a report with metrics.
func (w *writer) platformReport(dst []byte) []byte {
	w.trace, w.key = w.newKey()
	return w.platform(dst, "platform.report", w.report())
}
