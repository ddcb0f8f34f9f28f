package pipeline

import (
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/pkg/decode"
)

// at is a decoder before the first event or bad region of a body.
func at(t *testing.T, cfg Config, body string) *decoder {
	t.Helper()
	dec := newDecoder(&Pipeline{cfg: cfg})
	if dec.d.Reset([]byte(body), decode.Options{}); !dec.d.Next(&dec.e) {
		t.Fatalf("nothing in %s", body)
	}
	return dec
}

func TestKeyIsTheFieldThatIsAskedFor(t *testing.T) {
	const good, bad = `{"traceId":" t ","order":7,"user":"u"}`, `[{"traceId":" t ","user":"u",}]`
	for _, tt := range []struct {
		cfg       Config
		good, bad string
	}{
		{Config{}, "t", "t"},
		{Config{Key: "user"}, "u", "u"},
		{Config{Key: "order"}, "7", ""},
		{Config{Key: "absent"}, "", ""},
		{Config{NoKey: true}, "", ""},
	} {
		for body, want := range map[string]string{good: tt.good, bad: tt.bad} {
			if key := at(t, tt.cfg, body).key(); string(key) != want || (key == nil) != (want == "") {
				t.Errorf("%+v of %s: %q, want %q", tt.cfg.Key, body, key, want)
			}
		}
	}
}

func TestTimestampIsTheEventsOnlyNearItsAdmission(t *testing.T) {
	admitted := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		start string
		want  time.Duration // from the admission
	}{
		{"2026-03-01T11:59:58.250Z", -1750 * time.Millisecond},
		{" 2026-03-01T11:59:58.250Z ", -1750 * time.Millisecond},
		{"2026-03-01T12:59:58+01:00", -2 * time.Second},
		{"2026-03-01T12:10:00Z", 10 * time.Minute},
		{"2026-03-01T12:10:00.001Z", 0},
		{"2026-02-28T12:00:00Z", -24 * time.Hour},
		{"2026-02-28T11:59:59.999Z", 0},
		{"1969-12-31T23:59:59.999Z", 0},
		{"9999-12-31T23:59:59Z", 0},
		{"2026-03-01T11:59:61Z", 0},
		{"2026-03-01", 0},
		{"yesterday, at about noon", 0},
		{"", 0},
	} {
		body := `{"name":"function","startTime":"` + tt.start + `"}`
		want := admitted.Add(tt.want).UnixMilli()
		if got := at(t, Config{EventTime: true}, body).timestamp(admitted.UnixMilli()); got != want {
			t.Errorf("%s: %d ms from what it should be", tt.start, got-want)
		}
	}
	for _, body := range []string{`{"startTime":5}`, `{"startTime":null}`, `{}`, `{"startTime":"` + strings.Repeat("2", 1<<16) + `"}`} {
		if got := at(t, Config{EventTime: true}, body).timestamp(admitted.UnixMilli()); got != admitted.UnixMilli() {
			t.Errorf("%.40s: %d", body, got)
		}
	}
}

func TestKeyAndTimestampDoNotAllocate(t *testing.T) {
	for _, cfg := range []Config{{}, {Key: "user", EventTime: true}, {NoKey: true, EventTime: true}} {
		dec := at(t, cfg, `{"name":"function","startTime":"2026-03-01T11:59:58.250Z","traceId":"t","logs":"a\nb","user":"u"}`)
		if n := testing.AllocsPerRun(100, func() { dec.key(); dec.timestamp(1_772_366_398_250) }); n != 0 {
			t.Errorf("%+v: %v allocations", cfg, n)
		}
	}
}
