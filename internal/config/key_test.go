package config

import (
	"strings"
	"testing"
)

func TestKeyField(t *testing.T) {
	for text, want := range map[string]string{"traceId": "", "off": "", "order": "order", "TRACEID": "TRACEID", "日本": "日本", "a b": "a b"} {
		c := mustParse(t, map[string]string{"INGEST_KEY": text, "INGEST_BROKERS": "h:1", "INGEST_TOPIC": "t"}, "serve")
		if err := c.Validate(); err != nil || c.KeyField() != want {
			t.Errorf("--key=%s: %q, %v", text, c.KeyField(), err)
		}
	}
	for _, text := range []string{strings.Repeat("k", 201), "a\\b", "a\nb", "a\x00", "\xff"} {
		if got := complaints(t, nil, "serve", "--key="+text); len(got) != 1 {
			t.Errorf("--key=%q: %q", text, got)
		}
	}
}
