package faults

import (
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// leaderAwayIsTold: one of the brokers of a topic without replicas ends. One warning names cause and remedy, /status,
// /readyz and the metrics say the same, ingest check finds it, and one line says that it is over, without a restart; the
// ledger adds up throughout. It is the row of docs/troubleshooting.md that needs several brokers; the others are in test/trouble_test.go.
func leaderAwayIsTold(t *testing.T, kafka *kafkatest.Cluster, bin string) {
	topic := topicName("stuck", "told")
	withAdmin(t, kafka.Bootstrap(), func(ctx context.Context, a *kadm.Client) error {
		_, err := a.CreateTopic(ctx, stuckPartitions, 1, nil, topic)
		return err
	})
	victim := leadersOf(t, kafka, topic)[0]
	p := start(t, proc.Serve(bin, kafka.Bootstrap(), topic, "--ack=kafka", "--metadata-ttl=1s"))
	postForEver(t, p)
	must(t, kafka.Kill(victim))
	var line []string
	waitFor(t, "the warning", func() bool {
		line = logged(p, "level=WARN", "events do not reach Kafka", "reason=", "remedy=", "start the broker")
		return len(line) > 0
	})
	waitFor(t, "what is wrong in /status, /readyz, the metrics and ingest check", func() bool {
		var status struct {
			Ready    bool
			Delivery struct {
				State   string
				Trouble struct{ Kind, Remedy string }
			}
		}
		_, body, err := p.Get("/status")
		if err != nil || json.Unmarshal(body, &status) != nil {
			return false
		}
		d := status.Delivery
		named := slices.Contains([]string{"leaderless", "broker_away"}, d.Trouble.Kind) && strings.Contains(d.Trouble.Remedy, "start the broker")
		code, ready, err := p.Get("/readyz")
		if err != nil || !named || d.State != "retrying" || status.Ready || code != http.StatusServiceUnavailable || !strings.Contains(string(ready), "start the broker") {
			return false
		}
		figures, err := p.Metrics()
		if err != nil || figures[`ingest_delivery_state{state="retrying"}`] != 1 {
			return false
		}
		check := exec.Command(bin, "check", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--request-timeout=5s", "--brokers="+kafka.Bootstrap(), "--topic="+topic)
		said, err := check.CombinedOutput()
		return err != nil && check.ProcessState.ExitCode() == 1 && strings.Contains(string(said), "have no leader")
	})
	must(t, kafka.Restart(victim))
	waitFor(t, "the end of it", func() bool { return len(logged(p, "level=INFO", "events reach Kafka again", "after=", "was=")) > 0 })
	waitFor(t, "readiness", func() bool { code, _, err := p.Get("/readyz"); return err == nil && code == http.StatusOK })
	awaitSamples(t)
	t.Log(line[0])
}

// logged are the lines of the log that hold all of the words.
func logged(p *proc.Process, words ...string) (found []string) {
	for line := range strings.Lines(p.Stderr()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// postForEver posts events of many keys, and of none, until the test is over.
func postForEver(t *testing.T, p *proc.Process) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	client := &http.Client{Timeout: 2 * time.Second}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			const body = `[{"traceId":"a"},{"traceId":"b"},{"traceId":"c"},{"traceId":"d"},{"traceId":"e"},{"traceId":"f"},{"traceId":"g"},{"traceId":"h"},{"logs":"x"}]`
			if res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(body)); err == nil {
				res.Body.Close()
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}
