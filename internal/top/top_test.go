package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"functiongraph-ingest/internal/admin"
	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/term"
	"functiongraph-ingest/pkg/sink"
)

const metrics = `# HELP x y
process_cpu_seconds_total 1.5
process_resident_memory_bytes 2.097152e+07
ingest_ring_used_bodies 1000
ingest_ring_limit_bodies 1024
ingest_gate_used_bytes 1048576
ingest_gate_limit_bytes 4194304
ingest_dead_letters_total{reason="bad_value"} 3
ingest_dead_letters_total{reason="truncated"} 0
ingest_listen_answer_seconds_bucket{le="0.001"} 50
ingest_listen_answer_seconds_bucket{le="0.002"} 100
ingest_listen_answer_seconds_bucket{le="+Inf"} 100
nonsense
also nonsense NaNo
`

// evil is what a terminal would obey, and more of it than fits.
var evil = "\x1b[2J\x1b]0;owned\x07\u202e" + strings.Repeat("é", 300)

func status() admin.Status {
	now := time.Now()
	trouble := sink.Trouble{Kind: "silent", Reason: "broker 1 does not answer " + evil, Remedy: "look at the broker", Since: now, Error: evil}
	return admin.Status{
		Version: "ingest 1.2.3 " + evil, Started: now.Add(-90 * time.Second), UptimeSeconds: 90, NotReady: evil,
		Delivery: sink.Delivery{State: sink.Spooling, Since: now.Add(-5 * time.Second), Waiting: 1234, SpooledEvents: 1000, SpooledBytes: 1 << 20, Trouble: trouble, DeadLetters: trouble, Spool: trouble},
		Ledger:   ledger.Ledger{Admitted: 5000, Delivered: 3763, DeadLettered: 3, Spooled: 1000, InFlight: 234, Dropped: ledger.Reasons{}},
		Inside: &sink.Inside{AllPartitions: 40, DeadLetters: []sink.DeadNote{{Time: now, Reason: evil, Body: 1 << 63, Partition: -1, Content: evil}},
			Partitions: []sink.Partition{{Topic: evil, Partition: 7, Waiting: 3, Trouble: trouble}, {Topic: "a", Partition: 2, Leader: 1, Waiting: 5}, {Topic: "b", Partition: -1, Leader: -1, Waiting: 6}}},
	}
}

// serve is a process that says this.
func serve(t *testing.T, status, metrics string) *Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, status) })
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, metrics) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	c := NewClient(s.Listener.Addr().String(), "", nil)
	t.Cleanup(c.Close)
	return c
}

func screen(out *bytes.Buffer, keys <-chan byte) *Screen {
	return &Screen{Out: out, Size: func() (int, int) { return 80, 24 }, Keys: keys}
}

// What is shown is what the process says, fits 80x24, and obeys nothing that comes from outside.
func TestTheFrame(t *testing.T) {
	text, err := json.Marshal(status())
	if err != nil {
		t.Fatal(err)
	}
	m, err := serve(t, string(text), metrics).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := &view{address: "127.0.0.1:1" + evil}
	v.add(m)
	later := *m
	later.at = m.at.Add(2 * time.Second)
	later.status.Ledger.Admitted += 2000
	later.status.Ledger.InFlight += 2000
	v.add(&later)
	all := strings.Join(v.frame(80, 1000), "\n")
	for _, want := range []string{
		"a/2 leader 1: 5 events in memory", "b, partitions not known yet: 6 events in memory",
		"spooling for", "1,234 events wait, 1,000 of them on disk (1.0 MiB)", "look at the broker", "1,000 events/s", "ring         ███████████████████████", "1,000 of 1,024",
		"7,000 admitted = 3,763 delivered + 3 dead + 1,000 disk + 2,234 memory", "7,000 = 7,000 ✔", "bad_value 3", "partitions  ", "20.0 MiB resident", "up 1 min",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "truncated") || strings.ContainsAny(all, "\x1b\x07\u202e") {
		t.Errorf("%q", all)
	}
	for _, line := range strings.Split(all, "\n") {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d cells: %q", n, line)
		}
	}
	if n := len(v.frame(80, 23)); n != 23 {
		t.Errorf("%d lines", n)
	}
	later.status.Ledger.Delivered--
	if text := strings.Join(v.frame(80, 1000), "\n"); !strings.Contains(text, "7,000 ≠ 6,999 ✘ out of balance by 1") {
		t.Error(text)
	}
}

// A process that was started again begins anew: no rate reaches over its start.
func TestARestartBeginsAnew(t *testing.T) {
	v := &view{}
	a, b := &moment{at: time.Now(), status: status()}, &moment{at: time.Now().Add(time.Second), status: status()}
	b.status.Started = b.status.Started.Add(time.Hour)
	v.add(a)
	v.add(b)
	if len(v.moments) != 1 || v.rate(taken) != 0 {
		t.Errorf("%d moments", len(v.moments))
	}
}

func TestQuantile(t *testing.T) {
	inf := math.Inf(1)
	for _, tt := range []struct {
		name        string
		before, now []bucket
		q, want     float64
	}{
		{"nothing", nil, nil, 0.5, math.NaN()},
		{"nothing new", []bucket{{1, 5}, {inf, 5}}, []bucket{{1, 5}, {inf, 5}}, 0.5, math.NaN()},
		{"the first bucket", nil, []bucket{{1, 10}, {2, 10}, {inf, 10}}, 0.5, 0.5},
		{"the second", nil, []bucket{{1, 0}, {2, 10}, {inf, 10}}, 0.5, 1.5},
		{"since the last look", []bucket{{1, 100}, {2, 100}, {inf, 100}}, []bucket{{1, 100}, {2, 110}, {inf, 110}}, 0.99, 1.99},
		{"beyond the last bound", nil, []bucket{{1, 0}, {inf, 4}}, 0.5, 1},
		{"another process", []bucket{{1, 100}}, []bucket{{1, 1}, {inf, 1}}, 0.5, 0.5},
	} {
		if got := quantile(tt.before, tt.now, tt.q); math.Abs(got-tt.want) > 1e-9 && !(tt.name == "another process" && !(got > 1)) || math.IsNaN(got) != math.IsNaN(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Whatever listens at the address: an error that names the setting, within bounded memory.
func TestStrangersAtTheAddress(t *testing.T) {
	for name, answer := range map[string]string{"HTML": "<html>", "another JSON": `{"delivery":{"state":"blooming"}}`, "a list": "[]", "much": `{"version":"` + strings.Repeat("x", maxAnswer)} {
		if _, err := serve(t, answer, "").look(t.Context()); err == nil || !strings.Contains(err.Error(), "--admin") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, address := range []string{"127.0.0.1:1", "unix:/nowhere/socket", "http://[::1", "%"} {
		c := NewClient(address, "", nil)
		if _, err := c.look(t.Context()); err == nil || !strings.Contains(err.Error(), "--admin") {
			t.Errorf("%s: %v", address, err)
		}
		c.Close()
	}
}

func TestKeysEndTheShow(t *testing.T) {
	text, err := json.Marshal(status())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []byte{'q', 'Q', 3} {
		keys := make(chan byte, 2)
		keys <- 'x'
		keys <- key
		var out bytes.Buffer
		if err := Run(t.Context(), serve(t, string(text), metrics), screen(&out, keys), "a"); err != nil {
			t.Error(err)
		}
		if s := out.String(); !strings.HasPrefix(s, enter) || !strings.HasSuffix(s, leave) || !strings.Contains(s, "spooling") {
			t.Errorf("%q", s)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := Run(ctx, serve(t, string(text), metrics), screen(&out, nil), "a"); !errors.Is(err, context.Canceled) && err != nil && !strings.Contains(err.Error(), "canceled") {
		t.Error(err)
	}
}

// Without colors nothing but text is printed; with them only those.
func TestOnce(t *testing.T) {
	text, err := json.Marshal(status())
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{false, true} {
		var out bytes.Buffer
		s := screen(&out, nil)
		s.Colors = term.Colors{On: on}
		if err := Once(t.Context(), serve(t, string(text), metrics), s, "a"); err != nil {
			t.Fatal(err)
		}
		plain := regexp.MustCompile(`\x1b\[[0-9]+m`).ReplaceAllString(out.String(), "")
		if strings.Contains(plain, "\x1b") || on == (plain == out.String()) {
			t.Errorf("%v: %q", on, out.String())
		}
	}
}
