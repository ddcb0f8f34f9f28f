package test

import (
	"strings"
	"testing"

	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// The platform says, under load, that the instance was restored from a snapshot. The sequence of numbers ends with a
// mark and another one begins; nothing is lost or doubled by it, and ingest audit finds both complete.
func TestARestoredInstanceBeginsAnotherSequence(t *testing.T) {
	k, bin := kafka(t), proc.Build(t)
	const topic = "restored"
	inFunctionGraph(t, k, topic, "{traffic: {duration: 4s, concurrency: 50, steady: true, rate: 2000}, platform: {resend: 200}}", fgsim.Options{
		Command: []string{bin, "extension"}, Env: []string{"INGEST_HEADERS=standard", "INGEST_EXTENSION_NAME=extensionIngest.sh"},
	})
	starts, restored := map[string]bool{}, false
	for _, m := range kafkatest.Kcat(t, k.Bootstrap(), topic) {
		if seq, ok := m.Header("ingest-seq"); ok {
			start, _, _ := strings.Cut(seq, "-")
			starts[start] = true
		}
		restored = restored || strings.Contains(string(m.Value), "platform.restoreStart")
	}
	if !restored || len(starts) < 2 {
		t.Errorf("restored %v, %d sequences", restored, len(starts))
	}
	code, a := runAudit(t, bin, k, topic)
	if code != 0 || !a.Complete || len(a.Starts) != len(starts) {
		t.Errorf("exit %d, %+v", code, a)
	}
	t.Logf("%+v", a)
}
