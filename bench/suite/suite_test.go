package suite

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

func TestBundledScenarios(t *testing.T) {
	for _, name := range append(All(), Others()...) {
		s, err := LoadScenario(name)
		if err != nil || s.Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := LoadScenario("none"); err == nil || !strings.Contains(err.Error(), "throughput") {
		t.Error(err)
	}
}

// TestAgainst: two builds of ingest side by side, and no program of others.
func TestAgainst(t *testing.T) {
	s, err := Parse([]byte("name: x\nloads: [{}]\ntargets: [{name: ingest, args: [a]}, {name: p, command: [p], ready: 'tcp:{listen}'}, {name: second}]"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Against("old"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range s.Targets {
		got = append(got, fmt.Sprintf("%s %q %d", x.Name, x.Binary, len(x.Args)))
	}
	if want := `base "old" 1, new "" 1, base second "old" 0, new second "" 0`; strings.Join(got, ", ") != want || s.WarmRounds != 1 {
		t.Errorf("%q, %d rounds to warm up", got, s.WarmRounds)
	}
	s.Targets = []Target{{Name: "p", Command: []string{"p"}}}
	if s.Against("old") == nil {
		t.Error("nothing is compared, silently")
	}
}

func TestScenariosThatMakeNoSense(t *testing.T) {
	for text, want := range map[string]string{
		"name: x\nlods: []":                                                   "unknown field",
		"name: x":                                                             "at least one load",
		"name: x\nloads: [{profile: y}]":                                      "no profile",
		"name: x\nloads: [{share: 1}]":                                        "share of itself",
		"name: x\nloads: [{arrivals: constant}]":                              "need a rate",
		"name: x\nloads: [{}]\ncharts: [cake]":                                "no chart",
		"name: x\nloads: [{duration: soon}]":                                  "soon",
		"name: x\nshared: true\nloads: [{args: [a]}]":                         "arguments",
		"name: x\nkafka: {embedded: true}\nloads: [{faults: [{kind: kill}]}]": "cannot be made",
		"name: x\nloads: [{}]\ntargets: [{name: p, command: [p]}]":            "ready probe",
		"name: x\nloads: [{faults: [{kind: kill, broker: 1}]}]":               "cannot be made",
		"name: x\ninterleaved: true\nloads: [{}, {share: 1}]":                 "interleaved",
		"name: x\ninterleaved: true\nshared: true\nloads: [{}]":               "interleaved",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestChecksFindWhatDiffers(t *testing.T) {
	ledger := func(admitted, delivered, dead int64) *proc.Ledger {
		return &proc.Ledger{Admitted: admitted, Delivered: delivered, DeadLettered: dead}
	}
	for _, c := range []struct {
		name        string
		a           account
		code        int
		l           *proc.Ledger
		topic, dead int64
		want        string
	}{
		{"all is well", account{acked: 10}, 0, ledger(10, 10, 0), 10, 0, ""},
		{"dead letters", account{acked: 10}, 0, ledger(10, 7, 3), 7, 3, ""},
		{"open outcomes", account{acked: 10, open: 2}, 0, ledger(12, 12, 0), 12, 0, ""},
		{"one too few at the broker", account{acked: 10}, 0, ledger(10, 10, 0), 9, 0, "9 at the broker"},
		{"one twice", account{acked: 10}, 0, ledger(10, 10, 0), 11, 0, "11 at the broker"},
		{"one that nobody was told of", account{acked: 9}, 0, ledger(10, 10, 0), 10, 0, "9 acked, 10 delivered"},
		{"acked and lost", account{acked: 10, open: 5}, 0, ledger(9, 9, 0), 9, 0, "only 9 delivered"},
		{"a dead letter lost", account{acked: 10}, 0, ledger(10, 7, 3), 7, 2, "2 dead letters"},
		{"out of balance", account{acked: 10}, 0, ledger(11, 10, 0), 10, 0, "balance"},
		{"exit code", account{acked: 10}, 3, ledger(10, 10, 0), 10, 0, "exit code 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.a.check(c.code, c.l, c.topic, c.dead)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	a := account{acked: 100, bodies: 10}
	if a.checkPeer("events", 100) != "" || a.checkPeer("bodies", 10) != "" || a.checkPeer("none", 0) != "" {
		t.Error("a peer that lost nothing")
	}
	if !strings.Contains(a.checkPeer("events", 99), "1 lost") || !strings.Contains(a.checkPeer("bodies", 11), "1 too many") {
		t.Error("a peer that lost one, or doubled one, is not found out")
	}
}

// TestSearch finds a limit that is known, and says so when there is none.
func TestSearch(t *testing.T) {
	s := &Search{}
	s.complete()
	for _, limit := range []float64{30, 1000, 123_456, 5e6} {
		row, err := s.find(func(rate float64) (*Row, error) {
			w := &Row{Offered: rate, EventsPerSec: rate, Statuses: map[int]int64{200: 1000}}
			if rate > limit {
				w.P99 = 251
			}
			return w, nil
		})
		if err != nil || row == nil || row.Offered > limit || row.Offered < limit/(1+s.Precision)-1 {
			t.Errorf("%+v, %v, want %v", row, err, limit)
		}
	}
	trials := 0
	row, err := s.find(func(rate float64) (*Row, error) { // every other trial is spoilt
		w := &Row{Offered: rate, EventsPerSec: rate}
		if trials++; trials%2 == 1 || rate > 50_000 {
			w.NoReply = 1
		}
		return w, nil
	})
	if err != nil || row == nil || row.Offered < 45_000 {
		t.Errorf("%+v, %v, want 50,000", row, err)
	}
	row, err = s.find(func(rate float64) (*Row, error) { return &Row{Offered: rate}, nil })
	if row != nil || err != nil {
		t.Errorf("%+v, %v", row, err)
	}
	for want, w := range map[string]*Row{
		"without answer": {NoReply: 1}, "refused": {Refused: 2, Statuses: map[int]int64{200: 998, 503: 2}},
		"answered": {Offered: 100, EventsPerSec: 96}, "p99": {P99: 300},
	} {
		if got := s.verdict(w); !strings.Contains(got, want) {
			t.Errorf("%+v: %q", w, got)
		}
	}
}

// TestReport writes all its forms; the page stands by itself.
func TestReport(t *testing.T) {
	s, err := LoadScenario("outage")
	if err != nil {
		t.Fatal(err)
	}
	s.Charts = append(s.Charts, "latency-throughput", "cost-rate", "overload", "cost")
	rows := []*Row{
		{Target: "ingest", Load: s.Loads[0].Name, Round: 1, Offered: 20000, EventsPerSec: 12000, EventsPerCPU: 1e6, P50: 1, P99: 2, P999: 3, PeakRSS: 3e7,
			Windows: []Window{{At: 1, Events: 5}}, Samples: []Sample{{At: 1, RSS: 2e7}, {At: 2, RSS: 3e7, Delivered: 7}}},
		{Target: "ingest", Load: s.Loads[0].Name, Round: 2, EventsPerSec: 14000, Problem: "one is <missing>"},
	}
	r := &Report{Machine: ThisMachine(), Results: []*Result{{Scenario: s, Rows: rows}}}
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"13,000", "one is &lt;missing&gt;", "<svg", "Apache Kafka 4.", "broker frozen"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("no %q in the page", want)
		}
	}
	if bytes.Contains(page, []byte("src=")) || bytes.Contains(page, []byte("href=")) || len(files) < 8 {
		t.Errorf("the page needs more than itself, or files are missing: %v", files)
	}
	if p := r.Problems(); len(p) != 1 {
		t.Errorf("problems %v", p)
	}
}

// TestRunAgainstAnImitation: ingest and a program of others in one scenario, with a broker that needs no Java.
// The other program loses one record in ten, and is found out, also in the round that does not count.
func TestRunAgainstAnImitation(t *testing.T) {
	stub := filepath.Join(t.TempDir(), "stub")
	if out, err := exec.Command("go", "build", "-o", stub, "functiongraph-ingest/bench/suite/internal/stub").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := Parse(fmt.Appendf(nil, `
name: peers
kafka: {embedded: true, partitions: 2}
warmRounds: 1
warmUp: 50ms
duration: 300ms
targets:
  - {name: ingest}
  - {name: honest, command: [%[1]q, -listen, "{listen}", -brokers, "{brokers}", -topic, "{topic}"], ready: "http://{listen}/ready", records: bodies}
  - {name: liar, command: [%[1]q, -listen, "{listen}", -brokers, "{brokers}", -topic, "{topic}", -lose, "10"], ready: "tcp:{listen}", records: bodies}
loads:
  - {profile: "1", conns: 4}
`, stub))
	if err != nil {
		t.Fatal(err)
	}
	result := runs(t, s)
	var order []string
	for _, w := range result.Rows {
		order = append(order, fmt.Sprint(w.Round, " ", w.Target))
	}
	if got := strings.Join(order, ", "); got != "0 liar, 1 ingest, 1 honest, 1 liar" {
		t.Fatalf("rows %s", got)
	}
	for _, w := range result.Rows {
		if w.EventsPerSec == 0 || w.EventsPerCPU == 0 || w.PeakRSS == 0 || w.P99 == 0 {
			t.Errorf("%s: %+v", w.Target, w)
		}
	}
	problems := result.Problems()
	if len(problems) != 2 || !strings.Contains(problems[0], "liar") || !strings.Contains(problems[1], "liar") || !strings.Contains(problems[0], "lost") {
		t.Errorf("problems %v", problems)
	}
}

// runs is what a scenario gives with ingest as it is.
func runs(t *testing.T, s *Scenario) *Result {
	t.Helper()
	r := &Runner{Binary: proc.Build(t)}
	defer func() { _ = r.Close() }()
	result, err := r.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestFormats(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 12.34: "12.3", 999: "999", 1234: "1,230", 1_234_567: "1,230,000"} {
		if got := thousands(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := []string{digits(0.1234), digits(12.34), digits(1234)}; !slices.Equal(got, []string{"0.12", "12.3", "1234"}) {
		t.Error(got)
	}
	if got := time.Duration(Duration(time.Second)); got != time.Second {
		t.Error(got)
	}
}
