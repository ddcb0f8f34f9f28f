package test

import (
	"bytes"
	"testing"

	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// Log lines without a traceId, a quarter of which come after their invocation has ended. What a header says of the
// invocation is true for each of them. Where one invocation runs at a time it names it for all, except for those whose
// simulated time runs ahead of the machine's: more of them when it was busy and catches up.
func TestLogLinesNameTheirInvocation(t *testing.T) {
	k, bin := kafka(t), proc.Build(t)
	for _, tt := range []struct {
		name, scenario string
		alone          bool
	}{
		{"alone", "{traffic: {duration: 5s, concurrency: 1, steady: true, rate: 400}, platform: {late: 0.25, cold: true, slips: 0.1, resend: 200}}", true},
		{"eight", "{traffic: {duration: 5s, concurrency: 8, connections: 2, logs: 4, rate: 1000}, platform: {late: 0.25, cold: true, slips: 0.1, resend: 200}}", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			topic := "lines-" + tt.name
			_, account := inFunctionGraph(t, k, topic, tt.scenario, fgsim.Options{
				Command: []string{bin, "extension"}, Env: []string{"INGEST_HEADERS=standard", "INGEST_MARK_INTERVAL=0", "INGEST_EXTENSION_NAME=extensionIngest.sh"},
			})
			var lines, named, open, others, cold int
			for _, m := range kafkatest.Kcat(t, k.Bootstrap(), topic) {
				_, isNamed := m.Header("ingest-trace")
				n, isOpen := m.Header("ingest-trace-open")
				if _, ok := m.Header("ingest-cold-start"); ok {
					cold++
				}
				switch line := bytes.Contains(m.Value, []byte(`"logs":"[Function]`)); {
				case line && isNamed == isOpen, !line && (isNamed || isOpen):
					t.Errorf("%s: named %v, open %v (%s)", m.Value, isNamed, isOpen, n)
				case !line:
					others++
				case isNamed:
					lines, named = lines+1, named+1
				default:
					lines, open = lines+1, open+1
				}
			}
			v := account.Verdict()
			if v.WrongOwner != 0 || v.Named != named || named == 0 || !tt.alone && open == 0 || others == 0 {
				t.Errorf("%d lines, %d named, %d of them wrong, %d open, %d other events", lines, named, v.WrongOwner, open, others)
			}
			if tt.alone && 2*open > lines { // 4 of 1,123 on a machine that was not busy
				t.Errorf("%d of %d lines could be of several invocations, but only one ran at a time", open, lines)
			}
			if tt.alone && cold < 3 { // start, runtimeDone, report of the first invocation, and its lines
				t.Errorf("%d records of a cold start", cold)
			}
			t.Logf("%d lines: %d named, %d wrong, %d ambiguous; %d records of the cold start", lines, named, v.WrongOwner, open, cold)
		})
	}
}
