package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSpoolOptions(t *testing.T) {
	for _, tt := range []struct {
		args string
		want SpoolOptions
	}{
		{"ls d", SpoolOptions{Dir: "d"}},
		{"ls --json d", SpoolOptions{Dir: "d", JSON: true}},
		{"verify d", SpoolOptions{Dir: "d"}},
		{"export d", SpoolOptions{Dir: "d"}},
		{"export --topic=t,u --partition=0,3 --since=2026-01-02T03:04:05Z --output=f --with-meta d", SpoolOptions{
			Dir: "d", Topics: []string{"t", "u"}, Partitions: []int32{0, 3}, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Output: "f", WithMeta: true}},
		{"replay --timeout=5m", SpoolOptions{Timeout: 5 * time.Minute}},
	} {
		inv, err := Parse(append([]string{"spool"}, strings.Fields(tt.args)...), Host{}, &bytes.Buffer{})
		if err != nil || !reflect.DeepEqual(*inv.Spool, tt.want) || (inv.Config != nil) != strings.HasPrefix(tt.args, "replay") {
			t.Errorf("%s: %+v, %v", tt.args, inv, err)
		}
	}
}

// A replay takes the settings of the serve that filled the spool.
func TestReplaySettings(t *testing.T) {
	t.Setenv("INGEST_ACK", AckDisk)
	t.Setenv("INGEST_SPOOL_FULL", SpoolFullDropOldest)
	t.Setenv("INGEST_SPOOL_DIR", "/d")
	t.Setenv("INGEST_BROKERS", "b:1")
	inv, err := Parse([]string{"spool", "replay", "--topic=t"}, Host{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	c := inv.Config
	if err := c.Validate(); err != nil || c.Ack != AckAccept || c.Linger != lingerNobodyWaits || c.SpoolFull != SpoolFullBlock ||
		c.SpoolDir != "/d" || c.DeadLetterTopic != "t.dlq" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"": {}, "0s": now, "90m": now.Add(-90 * time.Minute), "2026-01-01T00:00:00Z": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"2026-01-01T00:00:00+01:00": time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC),
	} {
		if got, err := parseSince("since", in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"-1h", "2", "2026-01-01", "yesterday"} {
		if got, err := parseSince("since", in, now); err == nil {
			t.Errorf("%q passes for %v", in, got)
		}
	}
}
