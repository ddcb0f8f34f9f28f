package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// The samples of the platform's reference exactly as printed: three are good, two are not JSON.
func TestReferenceSamplesAsPrinted(t *testing.T) {
	k := kafka(t)
	k.Topic(t, "samples", 4, nil)
	text, err := os.ReadFile("testdata/reference-samples.txt")
	if err != nil {
		t.Fatal(err)
	}
	samples := strings.Split(strings.TrimSpace(string(text)), "\n\n")
	if len(samples) != 5 {
		t.Fatalf("%d samples", len(samples))
	}
	p := proc.Start(t, proc.Serve(proc.Build(t), k.Bootstrap(), "samples"))
	body := "[" + strings.Join(samples, ",\n") + "]"
	if status, answer := post(t, p, "application/json", []byte(body)); status != 200 || answer != `{"events":3,"deadLettered":2}`+"\n" {
		t.Errorf("array: %d %s", status, answer)
	}
	for i, s := range samples {
		want := ""
		if i == 1 || i == 2 {
			want = `{"events":0,"deadLettered":1}` + "\n"
		}
		if status, answer := post(t, p, "application/json", []byte(s)); status != 200 || answer != want {
			t.Errorf("sample %d alone: %d %s", i, status, answer)
		}
	}
	code, l := p.MustStop(t)
	if code != 0 || l.Admitted != 10 || l.Delivered != 6 || l.DeadLettered != 4 {
		t.Errorf("exit %d, ledger %+v", code, l)
	}
	good := values(kafkatest.Kcat(t, k.Bootstrap(), "samples"))
	for _, i := range []int{0, 3, 4} {
		if n := count(good, samples[i]); n != 2 {
			t.Errorf("sample %d delivered %d times byte for byte, want 2", i, n)
		}
	}
	if len(good) != 6 {
		t.Errorf("%d good events", len(good))
	}
	dead := kafkatest.Kcat(t, k.Bootstrap(), "samples.dlq")
	if len(dead) != 4 {
		t.Fatalf("%d dead letters", len(dead))
	}
	for _, m := range dead {
		// The trailing comma's brace, and the unquoted podName.
		wrong := map[string]string{samples[1]: ",}", samples[2]: "pool22"}[string(m.Value)]
		if wrong == "" {
			t.Errorf("dead letter is no sample: %q", m.Value)
			continue
		}
		offset, errorOffset := number(t, &m, "ingest-offset"), number(t, &m, "ingest-error-offset")
		at := strings.Index(string(m.Value), wrong)
		if wrong == ",}" {
			at++
		}
		if errorOffset-offset != at {
			t.Errorf("error at %d of the region, want %d (%q)", errorOffset-offset, at, wrong)
		}
		if offset != 0 && offset != strings.Index(body, string(m.Value)) {
			t.Errorf("region at %d, want %d", offset, strings.Index(body, string(m.Value)))
		}
		if n := number(t, &m, "ingest-size"); n != len(m.Value) {
			t.Errorf("ingest-size %d, value %d", n, len(m.Value))
		}
	}
}

func count(list []string, s string) (n int) {
	for _, v := range list {
		if v == s {
			n++
		}
	}
	return n
}

func number(t *testing.T, m *kafkatest.Message, header string) int {
	t.Helper()
	v, ok := m.Header(header)
	n, err := strconv.Atoi(v)
	if !ok || err != nil {
		t.Fatalf("header %s = %q", header, v)
	}
	return n
}

// 100,000 mixed events over 16 connections; some bodies have a broken element in front, in the middle or
// at the end. Every good element arrives byte for byte and in the order of its traceId, every bad one in
// the dead-letter topic at the right offset.
func TestHundredThousandMixedEvents(t *testing.T) {
	k := kafka(t)
	k.Topic(t, "mixed", 4, nil)
	p := proc.Start(t, proc.Serve(proc.Build(t), k.Bootstrap(), "mixed"))
	const conns, bodies, perBody = 16, 63, 100
	want := make([]mixed, conns)
	var wg sync.WaitGroup
	for c := range conns {
		wg.Go(func() {
			m := mixed{conn: c, rnd: rand.New(rand.NewPCG(1, uint64(c))), bad: map[string]int{}}
			for range bodies {
				body, good, bad := m.body(perBody)
				status, answer := post(t, p, "application/json", body)
				wantAnswer := ""
				if bad > 0 {
					wantAnswer = fmt.Sprintf(`{"events":%d,"deadLettered":%d}`+"\n", good, bad)
				}
				if status != 200 || answer != wantAnswer {
					t.Errorf("%d %q, want 200 %q", status, answer, wantAnswer)
				}
			}
			want[c] = m
		})
	}
	wg.Wait()
	code, l := p.MustStop(t)
	byKey := map[string][]string{}
	for _, m := range kafkatest.Kcat(t, k.Bootstrap(), "mixed") {
		byKey[string(m.Key)] = append(byKey[string(m.Key)], string(m.Value))
	}
	good, bad := 0, 0
	for _, m := range want {
		for key, events := range m.good {
			got := byKey[key]
			if key == "" { // keyless: no order promised
				continue
			}
			good += len(events)
			if !slices.Equal(got, events) {
				t.Errorf("traceId %s: %d events in another order or of other bytes than the %d posted", key, len(got), len(events))
			}
		}
	}
	keyless := map[string]int{}
	for _, m := range want {
		for _, e := range m.good[""] {
			keyless[e]++
			good++
		}
	}
	for _, v := range byKey[""] {
		keyless[v]--
	}
	for v, n := range keyless {
		if n != 0 {
			t.Errorf("keyless event %s: %d too few", v, n)
		}
	}
	dead := map[string]int{}
	for _, m := range kafkatest.Kcat(t, k.Bootstrap(), "mixed.dlq") {
		dead[string(m.Value)] = number(t, &m, "ingest-offset")
	}
	for _, m := range want {
		for v, offset := range m.bad {
			bad++
			if got, ok := dead[v]; !ok || got != offset {
				t.Errorf("bad element %q: dead letter %v at %d, want offset %d", v, ok, got, offset)
			}
		}
	}
	if len(dead) != bad {
		t.Errorf("%d dead letters, want %d", len(dead), bad)
	}
	if code != 0 || l.Admitted < 100_000 || l.Delivered != int64(good) || l.DeadLettered != int64(bad) || l.Admitted != int64(good+bad) {
		t.Errorf("exit %d, posted %d good and %d bad, ledger %+v", code, good, bad, l)
	}
	t.Logf("%d good, %d bad: %+v", good, bad, l)
}

// mixed makes one connection's bodies. Its traceIds are its own, so their order is known.
type mixed struct {
	conn int
	n    int
	rnd  *rand.Rand
	good map[string][]string
	bad  map[string]int
}

func (m *mixed) body(events int) (body []byte, good, bad int) {
	if m.good == nil {
		m.good = map[string][]string{}
	}
	broken := -1
	if m.rnd.IntN(5) == 0 {
		broken = []int{0, events / 2, events - 1}[m.rnd.IntN(3)]
	}
	b := []byte("[")
	for i := range events {
		if i > 0 {
			b = append(b, ", \n"[:1+m.rnd.IntN(3)]...)
		}
		m.n++
		key, e := m.event()
		if i == broken {
			e = m.breakIt(e)
			m.bad[e] = len(b)
			bad++
		} else {
			m.good[key] = append(m.good[key], e)
			good++
		}
		b = append(b, e...)
	}
	return append(b, ']'), good, bad
}

func (m *mixed) event() (key, e string) {
	key = fmt.Sprintf("%08d-0233-11e8-82e4-%04d", m.conn, m.rnd.IntN(20))
	id := fmt.Sprintf(`"id":"%d/%d"`, m.conn, m.n)
	at := `"startTime": "2023-02-01T00:03:50.000Z "`
	switch m.rnd.IntN(6) {
	case 0:
		return key, fmt.Sprintf(`{"name":"platform.initStart ", %s, "traceId": " %s ", %s}`, at, key, id)
	case 1:
		return key, fmt.Sprintf(`{"name":"platform.RuntimeDone",%s,"status":" success ","traceId":"%s",%s}`, at, key, id)
	case 2:
		return key, fmt.Sprintf(`{%s,"name": " platform.report","traceId":"%s","reportMetrics":{"durationMs":1.10,"billingDurationMS":11," memorySize ":128,"podName":"p"},"n":12345678901234567890}`, id, key)
	case 3:
		return key, fmt.Sprintf(`{%s,"name":"platform.initRuntimeDone,","traceId":"%s","deep":[[{"a":"\u00e9\ud83d\ude00é"}]]}`, id, key)
	case 4:
		return "", fmt.Sprintf(`{"name":"function",%s,"logs":"[Function]line \"%d\"\n\t日本","%s":0}`, at, m.n, strings.ReplaceAll(id, `"`, ``))
	default:
		return "", fmt.Sprintf(`{"name":"extension",%s,%s,"logs":"[Extension]\\"}`, at, id)
	}
}

func (m *mixed) breakIt(e string) string {
	switch m.rnd.IntN(3) {
	case 0:
		return e[:len(e)-1] + ",}"
	case 1:
		return strings.Replace(e, `":`, `" `, 1)
	default:
		return strings.Replace(e, `"name"`, `name`, 1)
	}
}
