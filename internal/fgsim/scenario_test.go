package fgsim

import (
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	s, err := Parse([]byte("{name: a, traffic: {duration: 3s, rate: 7}, limits: {memory: 1.5MiB}}"),
		"traffic.rate=5.5", "platform.size=2KB", "stop.underLoad=true", "freeze={times: 2}")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "a" || s.Traffic.Duration != 3*time.Second || s.Traffic.Rate != 5.5 || s.Platform.Size != 2000 || s.Limits.Memory != 3<<19 ||
		!s.Stop.UnderLoad || s.Freeze.Times != 2 {
		t.Errorf("%+v", s)
	}
	if s.Ready != 10*time.Second || s.Traffic.Concurrency != 100 || s.Platform.Invoke != "invoke" || s.Stop.Grace != 2*time.Second {
		t.Errorf("defaults: %+v", s)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ text, override, want string }{
		{"traffic: {speed: 1}", "", "speed"},
		{"traffic: {concurrency: 1001}", "", "1 to 1,000"},
		{"traffic: {connections: 101}", "", "traffic.connections"},
		{"platform: {broken: 1.5}", "", "platform.broken"},
		{"platform: {invoke: none}", "", "platform.invoke"},
		{"freeze: {times: 2}", "", "needs traffic.duration"},
		{"limits: {memory: much}", "", "no size"},
		{"limits: {memory: 3GiB}", "", "2 GiB at most"},
		{"idle: -1s", "", "idle"},
		{"", "traffic", "path=value"},
		{"name: a", "name.b=1", "no group"},
		{"a: [", "", "["},
	} {
		var overrides []string
		if tt.override != "" {
			overrides = append(overrides, tt.override)
		}
		if _, err := Parse([]byte(tt.text), overrides...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %q: %v, want %q", tt.text, tt.override, err, tt.want)
		}
	}
}
