package test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// awaitSeen polls for a condition; nothing depends on how long it takes.
func awaitSeen(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never saw %s", what)
		}
	}
}

// status is what the tests read of /status.
type status struct {
	Ready    bool
	NotReady string
	Delivery struct {
		State   string
		Waiting int64
		Trouble struct{ Kind, Reason, Remedy, Error string }
		Spool   struct{ Kind, Remedy string }
	}
}

func statusOf(t *testing.T, p *proc.Process) (s status) {
	t.Helper()
	code, body, err := p.Get("/status")
	if err != nil || code != http.StatusOK {
		t.Fatalf("/status: %d %v", code, err)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatalf("/status: %v: %s", err, body)
	}
	return s
}

// lines counts the lines of the log that hold all of the words.
func lines(p *proc.Process, words ...string) (n int) {
next:
	for line := range strings.Lines(p.Stderr()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}

// deaf takes connections and never answers.
func deaf(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String() // the kernel takes them: nobody accepts
}

// What an operator gets wrong, or the world does: one line in the log that names cause and setting, /readyz, /status and
// the metric say the same, and where it can be mended one line says that it is over.
func TestTroubleIsNamed(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.WithSASL())
	must(t, k.SetPassword("fn", "right"))
	login := func(password string) []string {
		return []string{"--sasl-mechanism=SCRAM-SHA-256", "--sasl-user=fn", "--sasl-password=" + password}
	}
	for _, tt := range []struct {
		name, brokers string
		topic         map[string]string // nil: it does not exist
		args          []string
		accept        bool // --ack=accept with a spool: ready all the same
		kind, state   string
		words         []string // of the line
		mend          func(t *testing.T, topic string)
	}{
		{name: "wrong port", brokers: "127.0.0.1:1", kind: "unreachable", state: "retrying", words: []string{"--brokers", "connection refused"}},
		{name: "wrong port, but a disk", brokers: "127.0.0.1:1", accept: true, kind: "unreachable", state: "retrying", words: []string{"--brokers", "in the spool"}},
		{name: "no such name", brokers: "kafka.invalid:9092", kind: "unresolved", state: "retrying", words: []string{"cannot be resolved", "--brokers"}},
		{name: "never an answer", brokers: deaf(t), kind: "unreachable", state: "retrying", words: []string{"--brokers"}},
		{name: "TLS to a plaintext port", brokers: k.Bootstrap(), args: []string{"--tls"}, kind: "closes_tls", state: "failed", words: []string{"--tls"}},
		{name: "no login", brokers: k.SASL(), kind: "closes", state: "failed", words: []string{"--sasl"}},
		{name: "login to a port without", brokers: k.Bootstrap(), args: login("right"), kind: "no_login", state: "failed", words: []string{"remove --sasl"}},
		{
			name: "wrong password", brokers: k.SASL(), topic: map[string]string{}, args: login("wrong"), kind: "bad_login", state: "failed", words: []string{"--sasl-password"},
			mend: func(t *testing.T, _ string) { must(t, k.SetPassword("fn", "wrong")) },
		},
		{
			name: "missing topic", brokers: k.Bootstrap(), kind: "topic_missing", state: "failed", words: []string{"does not exist", "--create-topic"},
			mend: func(t *testing.T, topic string) { k.Topic(t, topic, 1, nil) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			topic := "trouble-" + strings.ToLower(strings.NewReplacer(" ", "-", ",", "").Replace(tt.name))
			if tt.topic != nil {
				k.Topic(t, topic, 1, tt.topic)
			}
			args := append([]string{"--ack=kafka"}, tt.args...)
			if tt.accept {
				args = append([]string{"--ack=accept", "--spool-dir", t.TempDir()}, tt.args...)
			}
			p := proc.StartUnready(t, proc.Serve(proc.Build(t), tt.brokers, topic, args...))
			if tt.accept {
				awaitSeen(t, "a place to post to", func() bool { c, _, err := p.Get("/healthz"); return err == nil && c == 200 })
				posted := make(chan struct{})
				go func() {
					defer close(posted)
					if res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(`[{"a":1}]`)); err == nil {
						res.Body.Close()
					}
				}()
				t.Cleanup(func() { _ = p.Kill(); <-posted })
			}
			awaitSeen(t, "the warning", func() bool { return lines(p, append(tt.words, "level=WARN", "reason=", "remedy=")...) == 1 })
			s := statusOf(t, p)
			if s.Delivery.State != tt.state || s.Delivery.Trouble.Kind != tt.kind || s.Delivery.Trouble.Remedy == "" || s.Ready != tt.accept {
				t.Errorf("/status: %+v, want %s, %s", s, tt.state, tt.kind)
			}
			code, text, err := p.Get("/readyz")
			if want := map[bool]int{true: 200, false: 503}[tt.accept]; err != nil || code != want || !strings.Contains(string(text), s.Delivery.Trouble.Remedy) {
				t.Errorf("/readyz: %d %s (%v), want %d", code, text, err, want)
			}
			if tt.mend != nil {
				tt.mend(t, topic)
				awaitSeen(t, "the end of it", func() bool { return lines(p, "level=INFO", "events reach Kafka again", "after=", "was=") == 1 })
				if code, text, err := p.Get("/readyz"); err != nil || code != 200 {
					t.Errorf("/readyz after it was mended: %d %s %v", code, text, err)
				}
			}
			// A cluster that is loading may be another reason in between.
			if n := lines(p, append(tt.words, "level=WARN")...); n != 1 {
				t.Errorf("%d warnings, want 1:\n%s", n, p.Stderr())
			}
			t.Log(strings.TrimSpace(string(text)))
		})
	}
}
