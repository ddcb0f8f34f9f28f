package load

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

type telemetry struct {
	Name    string `json:"name"`
	TraceID string `json:"traceId"`
	ID      string `json:"id"`
	Seq     string `json:"seq"`
}

// TestBodies: every request is what an HTTP server and a JSON parser expect, and an event has 240 bytes
// in the mean.
func TestBodies(t *testing.T) {
	for _, events := range []int{1, 100, 1000} {
		for _, marked := range []bool{false, true} {
			t.Run(fmt.Sprintf("events=%d/marked=%t", events, marked), func(t *testing.T) {
				payloads, err := Profile{Events: events, Marked: marked, Bodies: 10, Seed: 7}.Build(3)
				if err != nil {
					t.Fatal(err)
				}
				total, count, kinds := 0, 0, map[string]int{}
				for _, p := range payloads {
					checkRequest(t, p)
					var parsed []telemetry
					if err := json.Unmarshal(p.Body, &parsed); err != nil {
						t.Fatalf("%v: %s", err, p.Body)
					}
					if len(parsed) != events || p.Events() != events {
						t.Fatalf("%d events, Events() = %d, want %d", len(parsed), p.Events(), events)
					}
					for i, e := range parsed {
						kinds[e.Name]++
						total += len(p.Event(i))
						count++
						if len(e.TraceID) != 36 || !json.Valid(p.Event(i)) {
							t.Fatalf("event %s", p.Event(i))
						}
					}
				}
				if mean := float64(total) / float64(count); mean < EventBytes-1 || mean > EventBytes+1 {
					t.Errorf("an event has %.1f bytes, want %d", mean, EventBytes)
				}
				if len(kinds) != 4 {
					t.Errorf("kinds %v", kinds)
				}
			})
		}
	}
}

func checkRequest(t *testing.T, p *Payload) {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p.Request)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil || !bytes.Equal(body, p.Body) || req.Method != http.MethodPost || req.URL.Path != "/v1/events" {
		t.Fatalf("%s %s, body of %d bytes, %v", req.Method, req.URL.Path, len(body), err)
	}
}

func TestMark(t *testing.T) {
	payloads, err := Profile{Events: 25, Marked: true, Keys: 4}.Build(9)
	if err != nil {
		t.Fatal(err)
	}
	const firstID uint64 = 999_999_999_000
	traces := map[string]int{}
	for _, p := range payloads {
		for i := range p.Events() {
			p.Mark(i, firstID+uint64(i), 42)
		}
		for i := range p.Events() {
			var e telemetry
			if err := json.Unmarshal(p.Event(i), &e); err != nil {
				t.Fatal(err)
			}
			if e.ID != fmt.Sprint(firstID+uint64(i)) || e.Seq != "0000000042" {
				t.Errorf("event %d has id %s and seq %s", i, e.ID, e.Seq)
			}
			if key, known := traces[e.TraceID]; known && key != p.Key(i) {
				t.Errorf("trace %s has the keys %d and %d", e.TraceID, key, p.Key(i))
			}
			traces[e.TraceID] = p.Key(i)
		}
	}
	if len(traces) != 4 {
		t.Errorf("%d keys, want 4", len(traces))
	}
	other, err := Profile{Events: 25, Marked: true, Keys: 4}.Build(10)
	if err != nil {
		t.Fatal(err)
	}
	var e telemetry
	if err := json.Unmarshal(other[0].Event(0), &e); err != nil {
		t.Fatal(err)
	}
	if _, shared := traces[e.TraceID]; shared {
		t.Error("two connections share a key")
	}
}

func TestTheSeedDecidesTheBytes(t *testing.T) {
	build := func(seed uint64) string {
		p, err := Profile{Events: 10, Bodies: 2, Seed: seed}.Build(0)
		if err != nil {
			t.Fatal(err)
		}
		return string(p[1].Body)
	}
	first, again, other := build(1), build(1), build(2)
	if first != again || first == other {
		t.Error("bodies do not depend on the seed alone")
	}
}

// TestNamedProfiles: what a profile says of its bodies is what a JSON parser finds in them.
func TestNamedProfiles(t *testing.T) {
	for name, p := range Profiles() {
		for _, p.Encoding = range []string{"", "gzip", "zstd"} {
			p.Seed, p.Bodies = 3, 60
			payloads, err := p.Build(0)
			if err != nil {
				t.Fatal(name, err)
			}
			bad := 0
			for _, b := range payloads {
				checkRequest(t, b)
				if p.Encoding == "zstd" && !bytes.HasPrefix(b.Body, []byte("\x28\xb5\x2f\xfd")) || p.Encoding == "gzip" && b.Body[0] != 0x1f {
					t.Fatalf("%s is no %s", name, p.Encoding)
				}
				bad += b.Bad
				var parsed []json.RawMessage
				if b.Bad > 0 || b.plain[0] != '[' {
					continue // not JSON, or an event by itself
				}
				if err := json.Unmarshal(b.plain, &parsed); err != nil || len(parsed) != b.Events() {
					t.Fatalf("%s: %d events, Events() = %d, %v", name, len(parsed), b.Events(), err)
				}
			}
			if (bad > 0) != (p.Kind == Hostile) {
				t.Errorf("%s has %d bad events", name, bad)
			}
		}
	}
	if _, err := Named("no such"); err == nil {
		t.Error("a profile that is none")
	}
	if _, err := (Profile{Events: 1, Marked: true, Encoding: "gzip"}).Build(0); err == nil {
		t.Error("marks under compression")
	}
}

// Most benchmark traffic was keyed where the platform's log lines are not.
func TestKeylessLogs(t *testing.T) {
	for _, name := range []string{"invocations", "function-logs", "mixed", "keyed-logs", "100"} {
		p, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		p.Bodies = 50
		payloads, err := p.Build(0)
		if err != nil {
			t.Fatal(err)
		}
		lines, keyed := 0, 0
		for _, payload := range payloads {
			for _, element := range bytes.Split(payload.Body, []byte(`"name":"function"`))[1:] {
				lines++
				head, _, _ := bytes.Cut(element, []byte(`"logs"`)) // which is the last field
				if bytes.Contains(head, []byte(`"traceId"`)) {
					keyed++
				}
			}
		}
		if want := map[string]int{"keyed-logs": lines, "100": lines}[name]; lines < 50 || keyed != want {
			t.Errorf("%s: %d of %d log lines have a traceId, want %d", name, keyed, lines, want)
		}
	}
	if _, err := (Profile{Events: 1, Marked: true, KeylessLogs: true}).Build(0); err == nil {
		t.Error("marked log lines without a traceId")
	}
}
