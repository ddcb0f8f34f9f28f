package listen

import (
	"strings"
	"testing"
	"time"
)

// TestFullSaysOfWhat: the 503 for want of room names the setting of the room that is full.
func TestFullSaysOfWhat(t *testing.T) {
	for _, c := range []struct {
		name        string
		places      int
		bytes, fill int64
		want, not   string
	}{
		{"bytes", 64, 1 << 20, 1 << 20, "--memory-limit", "--ring-items"},
		{"places", 1, 1 << 20, 4 << 10, "--ring-items", "--memory-limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, withGate(c.places, c.bytes), withConfig(func(c *Config) { c.AdmitWait = time.Millisecond }))
			t.Cleanup(r.occupy(c.fill))
			cl := r.dial()
			cl.send(post("/", "[1]"))
			got := cl.reply()
			if got.status != 503 || !strings.Contains(got.body, c.want) || strings.Contains(got.body, c.not) || !strings.Contains(got.body, "--admit-wait") {
				t.Errorf("%+v", got)
			}
		})
	}
}
