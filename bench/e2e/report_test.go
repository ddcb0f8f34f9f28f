package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

func TestCheckFindsWhatDiffers(t *testing.T) {
	ledger := func(admitted, delivered, inFlight int64) *proc.Ledger {
		return &proc.Ledger{Admitted: admitted, Delivered: delivered, InFlight: inFlight}
	}
	for _, c := range []struct {
		name string
		row  row
		code int
		l    *proc.Ledger
		want string
	}{
		{"all is well", row{Acked: 10, AtBroker: 10}, 0, ledger(10, 10, 0), ""},
		{"open outcomes", row{Acked: 10, AtBroker: 12, WithoutAnswer: 2}, 0, ledger(12, 12, 0), ""},
		{"one too few at the broker", row{Acked: 10, AtBroker: 9}, 0, ledger(10, 10, 0), "9 at the broker"},
		{"one that nobody was told of", row{Acked: 9, AtBroker: 10}, 0, ledger(10, 10, 0), "9 acked, 10 delivered"},
		{"acked and lost", row{Acked: 10, AtBroker: 9, WithoutAnswer: 5}, 0, ledger(9, 9, 0), "only 9 delivered"},
		{"out of balance", row{Acked: 10, AtBroker: 10}, 0, ledger(11, 10, 0), "balance"},
		{"exit code", row{Acked: 10, AtBroker: 10}, 3, ledger(10, 10, 0), "exit code 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.row.check(c.code, c.l)
			if c.want == "" && c.row.Problem != "" || !strings.Contains(c.row.Problem, c.want) {
				t.Errorf("problem %q, want %q", c.row.Problem, c.want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	s, err := parse([]string{"-rounds", "2", "-measure", "1s", "--", "--linger", "5ms"})
	if err != nil || s.rounds != 2 || s.measure != time.Second || len(s.args) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	r := newReport(s)
	var out bytes.Buffer
	r.printHead(&out)
	sc := scenarios()[1]
	for i, rate := range []float64{100, 300} {
		r.add(&out, &row{scenario: sc, Round: i + 1, EventsPerSec: rate, PeakRSS: int64(i+1) * 1e6, AtBroker: 77})
	}
	r.add(&out, &row{scenario: scenarios()[2], Round: 1, Problem: "one is missing"})
	r.printSummary(&out)
	text := out.String()
	for _, want := range []string{"Apache Kafka 4.", "77", "WRONG: one is missing", " 200 ", " 2.0 "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := r.wrong(); len(got) != 1 || !strings.Contains(got[0], "one is missing") {
		t.Errorf("wrong = %q", got)
	}
	file := filepath.Join(t.TempDir(), "results", "e2e.json")
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(b, &back); err != nil || len(back.Rows) != 3 || back.Rows[1].EventsPerSec != 300 || back.Machine.Kafka == "" {
		t.Errorf("%v: %s", err, b)
	}
}
