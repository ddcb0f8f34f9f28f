package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// told renders notes for comparison: "at 2s unreachable", "at 9s over after 8s, 20 waited".
func told(at time.Duration, n *note) string {
	if n.over {
		return fmt.Sprintf("at %v over after %v, %d waited", at, n.took, n.waiting)
	}
	return fmt.Sprintf("at %v %s", at, n.trouble.word())
}

// Two errors that explain themselves, one after the other, are two reasons: each is told. The second one waited for a
// minute after the first.
func TestEachExplainedReasonIsTold(t *testing.T) {
	start := time.UnixMilli(1)
	var m machine
	var got []string
	for ms := 0; ms < 20_000; ms += 100 {
		own := sink.Trouble{Kind: "unknown_ca"}
		if ms >= 10_000 {
			own.Kind = "expired"
		}
		f := facts{reached: true, since: start, trouble: trouble{kind: insecure, own: own}}
		if n, _ := m.step(start.Add(time.Duration(ms)*time.Millisecond), &f); n != nil {
			got = append(got, told(time.Duration(ms)*time.Millisecond, n))
		}
	}
	if want := "at 2s unknown_ca, at 11s expired"; strings.Join(got, ", ") != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// Each case is a course of trouble: from when to when which kind, in milliseconds. The machine is asked whenever a fact
// changes and whenever it says so, as the sink does.
func TestWhatIsToldOfTrouble(t *testing.T) {
	type phase struct {
		from, to int
		kind     kind
	}
	for name, c := range map[string]struct {
		phases []phase
		until  int
		want   []string
	}{
		"none":              {nil, 10_000, nil},
		"half a second":     {[]phase{{1000, 1500, unreachable}}, 10_000, nil},
		"just below":        {[]phase{{1000, 2900, unreachable}}, 10_000, nil},
		"three seconds":     {[]phase{{1000, 4000, unreachable}}, 10_000, []string{"at 3s unreachable", "at 5s over after 3s, 7 waited"}},
		"from the start":    {[]phase{{0, 8000, silent}}, 10_000, []string{"at 2s silent", "at 9s over after 8s, 7 waited"}},
		"once a minute":     {[]phase{{0, 130_000, silent}}, 140_000, []string{"at 2s silent", "at 1m2s silent", "at 2m2s silent", "at 2m11s over after 2m10s, 7 waited"}},
		"another reason":    {[]phase{{0, 5000, silent}, {5000, 8000, badLogin}}, 10_000, []string{"at 2s silent", "at 6s bad_login", "at 9s over after 8s, 7 waited"}},
		"reason for 500 ms": {[]phase{{0, 5000, silent}, {5000, 5500, badLogin}, {5500, 9000, silent}}, 20_000, []string{"at 2s silent", "at 10s over after 9s, 7 waited"}},
		"two reasons in turn": {[]phase{{0, 5000, silent}, {5000, 10_000, badLogin}, {10_000, 15_000, silent}, {15_000, 20_000, badLogin}}, 30_000,
			[]string{"at 2s silent", "at 6s bad_login", "at 21s over after 20s, 7 waited"}},
		"the reason changes before the first line": {[]phase{{0, 1000, silent}, {1000, 4000, badLogin}}, 10_000, []string{"at 2s bad_login", "at 5s over after 4s, 7 waited"}},
		"a gap that is too short to be the end":    {[]phase{{0, 4000, silent}, {4500, 8000, silent}}, 20_000, []string{"at 2s silent", "at 9s over after 8s, 7 waited"}},
		"it comes and goes": {[]phase{{0, 3000, silent}, {6000, 9000, silent}, {12_000, 15_000, silent}}, 30_000,
			[]string{"at 2s silent", "at 4s over after 3s, 7 waited"}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.UnixMilli(1)
			var m machine
			var got []string
			var again time.Time
			for ms := 0; ms <= c.until; ms += 100 {
				now := start.Add(time.Duration(ms) * time.Millisecond)
				f := facts{reached: true}
				changed := ms == 0
				for _, p := range c.phases {
					if p.from <= ms && ms < p.to {
						f.trouble, f.waiting = trouble{kind: p.kind, detail: fmt.Sprint("text ", ms)}, 7
						f.since = start.Add(time.Duration(p.from) * time.Millisecond)
					}
					changed = changed || ms == p.from || ms == p.to
				}
				if !changed && (again.IsZero() || now.Before(again)) {
					continue
				}
				var n *note
				if n, again = m.step(now, &f); n != nil {
					got = append(got, told(now.Sub(start), n))
				}
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if len(m.toldAt) > len(c.phases) {
				t.Errorf("%d reasons remembered", len(m.toldAt))
			}
		})
	}
}

func TestStateOfDelivery(t *testing.T) {
	start := time.UnixMilli(1)
	old := start.Add(-time.Hour)
	for name, c := range map[string]struct {
		f    facts
		want sink.State
	}{
		"nothing is known yet":                {facts{}, sink.Starting},
		"trouble for a moment, never reached": {facts{trouble: trouble{kind: silent}, since: start.Add(-time.Second)}, sink.Starting},
		"nothing answers":                     {facts{trouble: trouble{kind: silent}, since: old}, sink.Retrying},
		"a wrong password":                    {facts{trouble: trouble{kind: badLogin}, since: old}, sink.Failed},
		"well, nothing to do":                 {facts{reached: true}, sink.Idle},
		"well, events on their way":           {facts{reached: true, waiting: 3}, sink.Delivering},
		"a hiccup under load":                 {facts{reached: true, waiting: 3, trouble: trouble{kind: silent}, since: start.Add(-time.Second)}, sink.Delivering},
		"an outage":                           {facts{reached: true, waiting: 3, trouble: trouble{kind: silent}, since: old}, sink.Retrying},
		"an outage, on disk":                  {facts{reached: true, overflow: true, trouble: trouble{kind: silent}, since: old}, sink.Spooling},
		"denied, on disk":                     {facts{reached: true, overflow: true, trouble: trouble{kind: topicDenied}, since: old}, sink.Failed},
		"no room for a moment":                {facts{reached: true, waiting: 3, stalled: start.Add(-blockedAfter / 2)}, sink.Delivering},
		"no room":                             {facts{reached: true, overflow: true, trouble: trouble{kind: topicDenied}, since: old, stalled: old}, sink.Blocked},
	} {
		t.Run(name, func(t *testing.T) {
			var m machine
			m.step(start, &c.f)
			if m.state != c.want || !m.since.Equal(start) {
				t.Errorf("%v since %v, want %v", m.state, m.since, c.want)
			}
		})
	}
}

// Every kind says what is wrong and what to do, in one line.
func TestEveryTroubleHasARemedy(t *testing.T) {
	words := map[string]bool{}
	for k := noTrouble + 1; k < troubleKinds; k++ {
		row := kinds[k]
		if row.word == "" || row.reason == "" || row.remedy == "" || words[row.word] {
			t.Errorf("kind %d: %+v", k, row)
		}
		words[row.word] = true
		text := trouble{kind: k, subject: "SUBJECT", detail: printable("a\x1b[31m\nb\u202e")}.Error()
		if strings.ContainsAny(text, "\x1b\n\u202e") || strings.Contains(text, "%") {
			t.Errorf("%q", text)
		}
	}
	if long := printable(strings.Repeat("ä", 10_000)); len(long) > detailBytes+3 {
		t.Errorf("a detail of %d bytes", len(long))
	}
}
