package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// categories are the names of events, and which topic each goes to.
var categories = []struct{ name, topic string }{
	{"platform.start", "platform"}, {"function", "function"}, {"extension", "extension"}, {"order", "other"},
}

// topicsOf are the settings of four topics, whose names begin with prefix.
func topicsOf(prefix string) []string {
	return []string{"--topic-platform=" + prefix + ".platform", "--topic-function=" + prefix + ".function", "--topic-extension=" + prefix + ".extension"}
}

// postMixed posts bodies from..to, each with one event of each category and of one key, in order. A body for which there is no
// room yet is posted again.
func postMixed(t *testing.T, p *proc.Process, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		var body strings.Builder
		for _, c := range categories {
			fmt.Fprintf(&body, "{\"name\":%q,\"traceId\":\"k%d\",\"n\":%d}\n", c.name, i%5, i)
		}
		until(t, func() bool {
			res, err := client.Post(p.URL("/"), "application/x-ndjson", strings.NewReader(body.String()))
			must(t, err)
			res.Body.Close()
			if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("body %d: %d", i, res.StatusCode)
			}
			return res.StatusCode == http.StatusOK
		})
	}
}

// A topic for each category of events, one of which is missing at first. An outage fills the spool, the process is killed,
// and the next one starts: every event that was acknowledged is in its own topic once and in order, by kcat's account and by
// that of ingest audit. The missing topic is named, and keeps no event of another one from Kafka.
func TestATopicForEachCategory(t *testing.T) {
	t.Parallel()
	bin, k := proc.Build(t), kafkatest.Start(t)
	for topic, partitions := range map[string]int{"c.other": 3, "c.platform": 2, "c.function": 4} {
		k.Topic(t, topic, partitions, nil)
	}
	args := append(topicsOf("c"), "--headers=standard", "--mark-interval=1s", "--instance=one", "--metadata-ttl=1s", "--ack=disk", "--spool-dir="+t.TempDir()+"/spool")
	o := proc.Serve(bin, k.Bootstrap(), "c.other", args...)
	p := proc.StartUnready(t, o)
	until(t, func() bool { code, _, err := p.Get("/healthz"); return err == nil && code == http.StatusOK })

	const first, second, all = 60, 200, 240
	postMixed(t, p, 0, first)
	p.WaitLedger(t, time.Minute, "the topics that are there have what is theirs", func(l *proc.Ledger) bool { return l.Delivered >= 3*first && l.Spooled+l.InFlight == first })
	awaitSeen(t, "the missing topic in log, /status, /readyz and check", func() bool {
		_, status, err := p.Get("/status")
		must(t, err)
		code, ready, err := p.Get("/readyz")
		must(t, err)
		_, stdout, stderr := checked(t, append(slices.Clone(args[:3]), "--brokers="+k.Bootstrap(), "--topic=c.other")...)
		return lines(p, "level=WARN", "some events do not reach Kafka", "topic c.extension does not exist", "--create-topic") > 0 &&
			strings.Contains(string(status), "topic c.extension does not exist") &&
			code == http.StatusOK && strings.Contains(string(ready), "topic c.extension does not exist") &&
			strings.Contains(stderr, "ingest: topic c.extension: does not exist: create the topic, or set --create-topic") &&
			strings.Contains(stdout, "# ok: topic c.function: 4 partitions") && strings.Contains(stdout, "# ok: topic c.platform: 2 partitions")
	})
	if out, err := exec.Command(bin, "top", "--once", "--admin="+p.Admin).CombinedOutput(); err != nil || !strings.Contains(string(out), "c.extension, partitions not known yet") {
		t.Errorf("top: %v\n%s", err, out)
	}

	strict := proc.StartUnready(t, proc.Serve(bin, k.Bootstrap(), "c.other", append(topicsOf("c"), "--ack=kafka")...))
	awaitSeen(t, "a process whose answers wait for Kafka, and which is not ready", func() bool {
		code, text, err := strict.Get("/readyz")
		return err == nil && code == http.StatusServiceUnavailable && strings.Contains(string(text), "topic c.extension does not exist")
	})
	must(t, strict.Kill())

	must(t, k.Kill(0))
	postMixed(t, p, first, second)
	must(t, p.Kill())
	must(t, k.Restart(0))
	o.Listen, o.Admin = p.Listen, p.Admin
	p = proc.StartUnready(t, o)
	until(t, func() bool { code, _, err := p.Get("/healthz"); return err == nil && code == http.StatusOK })
	l := p.WaitLedger(t, 2*time.Minute, "the frames of the topics that are there are delivered", func(l *proc.Ledger) bool {
		return l.Recovered > 0 && l.Spooled+l.InFlight == l.Admitted+l.Recovered-l.Delivered && l.Spooled+l.InFlight == second
	})
	t.Logf("recovered %d of %d", l.Recovered, 4*second)
	k.Topic(t, "c.extension", 3, nil)
	postMixed(t, p, second, all)
	if code, l := p.MustStop(t); code != 0 || l.Spooled != 0 || l.DeadLettered != 0 || l.PossibleDuplicates != 0 {
		t.Errorf("exit %d, %+v", code, l)
	}
	for _, c := range categories {
		checkCategory(t, k, c.name, "c."+c.topic, all)
	}
	code, a := runAudit(t, bin, k, "c.other", topicsOf("c")...)
	if code != 0 || !a.Complete || len(a.Starts) != 2 || a.Starts[0].State != "killed" || a.Starts[1].State != "closed" || a.Starts[0].Delivered+a.Starts[1].Delivered != 4*all {
		t.Errorf("audit: exit %d, %+v", code, a)
	}
	if code, a := runAudit(t, bin, k, "c.other", topicsOf("c")[:2]...); code != 3 || a.Complete || a.Starts[0].Missing == 0 || a.Starts[1].Missing == 0 {
		t.Errorf("audit without one of the topics: exit %d, %+v", code, a)
	}
}

// checkCategory fails unless a topic has the events 0 to n of one category, each once, and each key's in order.
func checkCategory(t *testing.T, k *kafkatest.Cluster, name, topic string, n int) {
	t.Helper()
	seen, last := map[int]bool{}, map[string]int{}
	must(t, kafkatest.ConsumeEach(t.Context(), k.Bootstrap(), topic, func(m *kafkatest.Message) error {
		if _, mark := m.Header("ingest-mark"); mark {
			return nil
		}
		var e struct {
			Name, TraceID string
			N             int
		}
		if err := json.Unmarshal(m.Value, &e); err != nil || e.Name != name || e.TraceID != string(m.Key) {
			return fmt.Errorf("%s has %s under the key %s", topic, m.Value, m.Key)
		}
		if before, known := last[e.TraceID]; seen[e.N] || known && e.N < before {
			return fmt.Errorf("%s: %s comes behind number %d", topic, m.Value, before)
		}
		seen[e.N], last[e.TraceID] = true, e.N
		return nil
	}))
	if len(seen) != n {
		t.Errorf("%s has %d events, want %d", topic, len(seen), n)
	}
}

// What its topic refuses is a dead letter that names the topic. dlq resend sends it there, and nowhere else.
func TestResendToTheTopicOfTheLetter(t *testing.T) {
	t.Parallel()
	k, bin := kafka(t), proc.Build(t)
	for _, topic := range []string{"r.other", "r.platform", "r.extension"} {
		k.Topic(t, topic, 1, nil)
	}
	k.Topic(t, "r.function", 1, map[string]string{"max.message.bytes": "3000"})
	p := proc.Start(t, proc.Serve(bin, k.Bootstrap(), "r.other", append(topicsOf("r"), "--codec=none")...))
	long := strings.Repeat("x", 5000)
	if code, answer := post(t, p, "application/json", []byte(`[{"name":"function","logs":"`+long+`"},{"name":"function"},{"name":"platform.start"}]`)); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	if code, l := p.MustStop(t); code != 0 || l.Delivered != 2 || l.DeadLettered != 1 {
		t.Errorf("exit %d, %+v", code, l)
	}
	resend := func(more ...string) (code int, text string) {
		cmd := exec.CommandContext(t.Context(), bin, append([]string{"dlq", "resend", "--to=topic", "--brokers=" + k.Bootstrap(), "--topic=r.other", "--codec=none"}, more...)...)
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	const refused = `"taken":0,"deadLetteredAgain":0,"notJSON":0,"notices":0,"refused":1`
	for _, more := range [][]string{{"--dry-run"}, nil} {
		if code, text := resend(more...); code != 1 || !strings.Contains(text, refused) || !strings.Contains(text, `it was to go to topic "r.function"`) || !strings.Contains(text, "--topic-function") {
			t.Errorf("%v: exit %d, %s", more, code, text)
		}
	}
	raise(t, k, "r.function", "100000")
	if code, text := resend(topicsOf("r")...); code != 0 || !strings.Contains(text, `"taken":1`) {
		t.Errorf("exit %d, %s", code, text)
	}
	for topic, want := range map[string]int{"r.other": 0, "r.platform": 1, "r.function": 2, "r.extension": 0} {
		if got := kafkatest.Kcat(t, k.Bootstrap(), topic); len(got) != want {
			t.Errorf("%s has %d records, want %d", topic, len(got), want)
		}
	}
}

// raise sets max.message.bytes of a topic.
func raise(t *testing.T, k *kafkatest.Cluster, topic, to string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(k.Bootstrap()))
	must(t, err)
	defer c.Close()
	answers, err := kadm.NewClient(c).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &to}}, topic)
	must(t, err)
	_, err = answers.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	must(t, err)
}
