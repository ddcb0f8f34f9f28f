package simulator

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestSteadyKeepsTheInstanceFull(t *testing.T) {
	g := New(Config{Seed: 1, Concurrency: 1000, Steady: true, MaxEvents: 50})
	var d Delivery
	begun := map[string]bool{}
	for i := range 100 {
		g.Next(&d)
		for _, trace := range d.Begun {
			if begun[trace] {
				t.Fatalf("%s begins twice", trace)
			}
			begun[trace] = true
		}
		if i == 0 && len(d.Begun) != 1000 {
			t.Errorf("%d invocations at the start", len(d.Begun))
		}
		for _, e := range d.Events {
			if e.Key != "" && !begun[e.Key] {
				t.Fatalf("an event of %s, which has not begun", e.Key)
			}
		}
		if g.Open() < 1000-50 || g.Open() > 1000 {
			t.Fatalf("%d open", g.Open())
		}
	}
}

func TestFinishEndsEveryInvocation(t *testing.T) {
	g := New(Config{Seed: 2, Concurrency: 30})
	var d Delivery
	open := map[string]bool{}
	take := func() {
		for _, trace := range d.Begun {
			open[trace] = true
		}
		for _, e := range d.Events {
			if e.Kind == Report {
				delete(open, e.Key)
			}
		}
	}
	for range 20 {
		g.Next(&d)
		take()
	}
	for n := 0; g.Finish(&d); n++ {
		take()
		if len(d.Begun) > 0 || n > 10_000 {
			t.Fatal("it goes on")
		}
		if !json.Valid(d.Body) {
			t.Fatalf("%s", d.Body)
		}
	}
	if len(open) > 0 || g.Open() > 0 || len(d.Events) > 0 {
		t.Errorf("%d invocations without a report, %d open", len(open), g.Open())
	}
}

func TestOnlySubscribedTypes(t *testing.T) {
	for _, types := range [][]string{{"platform"}, {"function"}, {"extension"}, {"function", "extension"}} {
		deliveries(Config{Seed: 3, Types: types}, 200, func(d *Delivery) {
			for _, e := range d.Events {
				if !slices.Contains(types, e.Kind.Type()) {
					t.Fatalf("%s with %v", e.Kind, types)
				}
			}
		})
	}
}

func TestLogsAndLarge(t *testing.T) {
	g := New(Config{})
	var d Delivery
	g.Logs(&d, []string{`level=ERROR msg="no \\ broker"`, "\x1b[31mred\xff"})
	var events []struct{ Name, Logs, EventID string }
	if err := json.Unmarshal(d.Body, &events); err != nil || len(events) != 2 || events[0].Logs != `[Extension]level=ERROR msg="no \\ broker"` {
		t.Errorf("%v %+v", err, events)
	}
	if events[1].EventID != d.Events[1].ID.String() || !json.Valid(d.Raw(&d.Events[1])) {
		t.Errorf("%+v", d.Events)
	}
	g.Large(&d, 5<<20)
	if len(d.Body) < 5<<20 || len(d.Body) > 5<<20+300 || !json.Valid(d.Body) || len(d.Events) != 1 {
		t.Errorf("%d bytes", len(d.Body))
	}
}
