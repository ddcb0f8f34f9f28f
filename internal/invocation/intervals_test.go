package invocation

import (
	"hash/maphash"
	"math/rand/v2"
	"testing"
	"time"
)

func TestOnlyOneInvocationCanHaveWrittenTheLine(t *testing.T) {
	v := NewIntervals(0)
	at := func(ms int64, open int, only string) {
		t.Helper()
		if n, id := v.At(ms); n != open || string(id) != only {
			t.Errorf("at %d: %d open, %q; want %d, %q", ms, n, id, open, only)
		}
	}
	a, b := []byte("a"), []byte("b")
	at(5, 0, "")
	v.Announce(a, 10)
	at(9, 0, "")
	at(10, 1, "a")
	v.Begin(a, 8) // platform.start knows better
	at(8, 1, "a")
	v.Announce(b, 30)
	at(29, 1, "a")
	at(30, 2, "")
	v.End(a, 60) // runtimeDone, when it was received
	at(60, 2, "")
	at(61, 1, "b")
	v.Report(a, 40, 60) // platform.report: the line of b at 41 may come late
	at(40, 2, "")
	at(41, 1, "b")
	v.End(a, 90) // a copy that comes late
	at(41, 1, "b")
	at(20, 1, "a") // a late line of a
	v.Report(b, 50, 60)
	at(51, 0, "")
}

// The platform has not said that it invokes c: others may run as well of which it has not.
func TestNothingIsCertainWhileAnInvocationIsNotAnnounced(t *testing.T) {
	v := NewIntervals(0)
	v.Announce([]byte("a"), 10)
	v.Begin([]byte("c"), 100)
	v.Report([]byte("c"), 110, 110)
	if n, id := v.At(20); n != 1 || id != nil {
		t.Errorf("%d, %s", n, id)
	}
	v.Announce([]byte("c"), 101) // it only came late
	if n, id := v.At(20); n != 1 || string(id) != "a" {
		t.Errorf("%d, %s", n, id)
	}
	v.Report([]byte("d"), 50, 50) // begun at any time
	if n, id := v.At(20); n != 2 || id != nil {
		t.Errorf("%d, %s", n, id)
	}
}

// What would make an invocation's interval too short, so that the only other one was named for its lines.
func TestOthersAreNotNamedForLines(t *testing.T) {
	a, b := []byte("a"), []byte("b")
	for name, c := range map[string]struct {
		play func(v *Intervals, clock *int64)
		at   int64
		open int
		only string
	}{
		"the clock was set back within a": {func(v *Intervals, clock *int64) {
			v.Announce(b, 50)
			v.Report(b, 150, 150)
			*clock = 200
			v.Announce(a, 200)
			*clock = 110
		}, 110, 1, ""},
		"later it is certain again": {func(v *Intervals, clock *int64) {
			*clock = 200
			v.Announce(a, 200)
			*clock = 110
			v.At(110)
			*clock = 210
		}, 210, 1, "a"},
		"a report's end lies before the beginning": {func(v *Intervals, _ *int64) {
			v.Announce(a, 10)
			v.Announce(b, 20)
			v.Report(b, 5, 40)
		}, 30, 2, ""},
		"a retry has the id of its first run": {func(v *Intervals, _ *int64) {
			v.Announce(a, 10)
			v.Report(a, 15, 16)
			v.Announce(b, 20)
			v.Announce(a, 30)
			v.End(a, 35)        // of the first run, late
			v.Report(a, 15, 36) // as well
		}, 40, 2, ""},
		"after its end it is over": {func(v *Intervals, _ *int64) {
			v.Announce(a, 10)
			v.Report(a, 15, 16)
			v.Announce(b, 20)
			v.Announce(a, 30)
			v.Report(a, 38, 39)
		}, 40, 1, "b"},
		"between two runs of one id": {func(v *Intervals, _ *int64) {
			v.Announce(a, 10)
			v.Report(a, 15, 16)
			v.Announce(a, 30)
		}, 20, 1, ""},
		"a retry whose end is lost": {func(v *Intervals, _ *int64) {
			v.Announce(a, 10)
			v.Report(a, 15, 16)
			v.Announce(a, 30)
			v.Announce(b, 200_000)
		}, 200_000, 1, "b"},
		"an announcement without an id": {func(v *Intervals, _ *int64) {
			v.Announce(b, 20)
			v.Announce(nil, 30)
		}, 30, 1, ""},
		"before it": {func(v *Intervals, _ *int64) {
			v.Announce(b, 20)
			v.Announce(nil, 30)
		}, 29, 1, "b"},
		"when that one has ended": {func(v *Intervals, _ *int64) {
			v.Announce(nil, 30)
			v.Announce(b, 100_000)
		}, 100_000, 1, "b"},
	} {
		v, clock := NewIntervals(time.Minute), int64(1)
		v.clock = func() int64 { return clock }
		c.play(v, &clock)
		if n, id := v.At(c.at); n != c.open || string(id) != c.only {
			t.Errorf("%s: %d open, %q; want %d, %q", name, n, id, c.open, c.only)
		}
	}
}

func TestLostEndsOfInvocations(t *testing.T) {
	v := NewIntervals(time.Minute)
	v.Announce([]byte("lost"), 0)
	v.Announce([]byte("next"), 30_000)
	if n, _ := v.At(30_000); n != 2 {
		t.Errorf("%d open", n)
	}
	v.Announce([]byte("later"), 200_000)
	if n, id := v.At(200_000); n != 1 || string(id) != "later" {
		t.Errorf("%d open, %s", n, id)
	}
	if n, _ := v.At(40_000); n != 2 {
		t.Errorf("%d open before", n)
	}
}

func TestIntervalsAreBounded(t *testing.T) {
	v := NewIntervals(0)
	for i := range 5 * maxIntervals {
		ms := int64(10 * i)
		v.Announce(id(i), ms)
		v.Report(id(i), ms+5, ms+5)
		v.End(id(i), ms+9)
	}
	if n := len(v.list); n > maxIntervals || n != len(v.byID) || n != len(v.begins) || n != len(v.ends) {
		t.Fatal(n, len(v.byID), len(v.begins), len(v.ends))
	}
	last := 5*maxIntervals - 1
	if n, only := v.At(int64(10*last + 1)); n != 1 || string(only) != string(id(last)) {
		t.Errorf("%d, %s", n, only)
	}
	if n, only := v.At(1); n != 0 || only != nil {
		t.Errorf("%d, %s", n, only)
	}
	v.Begin(id(0), 0) // copies of what was forgotten
	v.Report(id(0), 5, 5)
	if v.unannounced != 0 {
		t.Error("a copy counts as a new invocation")
	}
	for i := range 2 * maxIntervals { // whose ends do not come
		v.Announce(id(-1-i), 1_000_000_000)
	}
	if n, only := v.At(1_000_000_000); n != maxIntervals || only != nil {
		t.Errorf("%d, %s", n, only)
	}
	v.Announce([]byte("x"), 2_000_000_000)
	if _, only := v.At(int64(10*last + 1)); only != nil {
		t.Errorf("certain of %s though not all are known", only)
	}
}

func TestAnIDTooLongForAHeader(t *testing.T) {
	v := NewIntervals(0)
	v.Announce(make([]byte, maxID+1), 1)
	v.Init(0)
	if n, id := v.At(1); n != 1 || id != nil {
		t.Error(n, id)
	}
}

func TestColdStart(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(v *Intervals)
		cold string
	}{
		{"no initialisation", func(v *Intervals) { v.Announce([]byte("a"), 10) }, ""},
		{"before", func(v *Intervals) { v.Init(5); v.Announce([]byte("a"), 10); v.Announce([]byte("b"), 11) }, "a"},
		{"told later", func(v *Intervals) { v.Announce([]byte("a"), 10); v.Announce([]byte("b"), 11); v.Init(5) }, "a"},
		{"of a later invocation", func(v *Intervals) { v.Announce([]byte("a"), 10); v.Init(15); v.Announce([]byte("b"), 20) }, ""},
	} {
		v := NewIntervals(0)
		c.do(v)
		if got := string(v.Cold()); got != c.cold {
			t.Errorf("%s: %q, want %q", c.name, got, c.cold)
		}
	}
}

// Against a plain count over all intervals, in any order of events.
func TestIntervalsAgainstACount(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		v := NewIntervals(0)
		type span struct{ begin, end int64 }
		truth := map[int]span{}
		for i := range 40 {
			begin := rng.Int64N(100)
			truth[i] = span{begin, 1 << 60}
			v.Announce(id(i), begin)
			if rng.IntN(2) == 0 {
				earlier := begin - rng.Int64N(3)
				v.Begin(id(i), earlier)
				truth[i] = span{earlier, 1 << 60}
			}
			if k := rng.IntN(i + 1); rng.IntN(3) > 0 && truth[k].end == 1<<60 {
				s := truth[k]
				s.end = s.begin + rng.Int64N(50)
				truth[k] = s
				v.End(id(k), s.end+rng.Int64N(9))
				v.Report(id(k), s.end, s.end)
				if rng.IntN(4) == 0 { // comes last, and says nonsense
					before := v.byID[maphash.Bytes(v.seed, id(k))].began
					v.Begin(id(k), s.end+20)
					if now := v.byID[maphash.Bytes(v.seed, id(k))]; !before && now.began {
						truth[k] = span{now.begin, now.end}
					}
				}
			}
		}
		for ms := int64(-5); ms < 160; ms++ {
			n, who := 0, ""
			for i, s := range truth {
				if s.begin <= ms && ms <= s.end {
					n++
					who = string(id(i))
				}
			}
			if n != 1 {
				who = ""
			}
			if got, only := v.At(ms); got != n || string(only) != who {
				t.Fatalf("at %d: %d, %q; want %d, %q", ms, got, only, n, who)
			}
		}
	}
}
