package test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// permissionsAreTaken takes permissions away under load and gives them back: one line tells of each, the same stands in
// /status and /readyz, one line tells the end, and nothing is lost or sent twice. The broker of k asks for permissions
// where clients log in.
func permissionsAreTaken(t *testing.T, k *kafkatest.Cluster) {
	const topic, dead, write, describe = "permissions", "permissions.dlq", kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe
	k.Topic(t, topic, 3, nil)
	k.Topic(t, dead, 1, nil)
	must(t, k.SetPassword("taken", "right-secret"))
	for _, name := range []string{topic, dead} {
		must(t, k.Grant("taken", name, write, describe))
	}
	must(t, k.Grant("taken", "", kmsg.ACLOperationIdempotentWrite))
	p := proc.Start(t, proc.Serve(proc.Build(t), k.SASL(), topic, "--ack=kafka", "--ack-timeout=5m", "--metadata-ttl=1s",
		"--sasl-mechanism=SCRAM-SHA-256", "--sasl-user=taken", "--sasl-password=right-secret"))
	f := newFlow(t, k, p, topic)
	f.goesOn()

	// WRITE implies DESCRIBE, and brokers from 2.8 on give a producer id to whom may write: nothing changes.
	must(t, k.Revoke("taken", "", kmsg.ACLOperationIdempotentWrite))
	must(t, k.Revoke("taken", topic, describe))
	f.goesOn()
	must(t, k.Grant("taken", "", kmsg.ACLOperationIdempotentWrite))
	must(t, k.Grant("taken", topic, describe))

	for _, tt := range []struct {
		name, topic string
		taken       []kmsg.ACLOperation
		of, kind    string
		ready       bool
		body        string // that is posted beside the load; "" is answered at once
	}{
		{"WRITE", topic, []kmsg.ACLOperation{write}, "", "topic_denied", false, ""},
		{"WRITE and DESCRIBE on the dead-letter topic", dead, []kmsg.ACLOperation{write, describe}, "dead letters", "dead_letter_topic_denied", true, "[nonsense]"},
	} {
		begins := []string{"level=WARN", lineOf[tt.of][0], tt.topic + " is denied", "grant DESCRIBE and WRITE"}
		none := append(begins[:len(begins):len(begins)], "waiting=0")
		ends := []string{"level=INFO", lineOf[tt.of][1], "was=" + tt.kind}
		warned, ended, began := lines(p, begins...), lines(p, ends...), time.Now()
		must(t, k.Revoke("taken", tt.topic, tt.taken...))
		answered := make(chan int, 1)
		go func() {
			status := 0
			if res, err := http.Post(p.URL("/"), "application/json", strings.NewReader(tt.body)); err == nil {
				status = res.StatusCode
				_ = res.Body.Close()
			}
			answered <- status
		}()
		f.await("the warning: "+tt.name, func() bool { return lines(p, begins...) > warned })
		s := statusOf(t, p)
		found := map[string]trouble{"": s.Delivery.Trouble, "dead letters": s.Delivery.DeadLetters}[tt.of]
		if found.Kind != tt.kind || !strings.Contains(found.Remedy, "grant DESCRIBE and WRITE") || s.Ready != tt.ready {
			t.Errorf("%s: /status says %+v", tt.name, s)
		}
		if code, text, err := p.Get("/readyz"); err != nil || code != map[bool]int{true: 200, false: 503}[tt.ready] || !strings.Contains(string(text), found.Remedy) {
			t.Errorf("%s: /readyz says %d %s (%v)", tt.name, code, text, err)
		}
		must(t, k.Grant("taken", tt.topic, tt.taken...))
		f.await("the end: "+tt.name, func() bool { return lines(p, ends...) > ended })
		if status := <-answered; status != 200 {
			t.Errorf("%s: a body that came meanwhile is answered %d", tt.name, status)
		}
		f.goesOn()
		if n := lines(p, begins...) - warned; n > 1+int(time.Since(began)/time.Minute) {
			t.Errorf("%s: %d warnings, want one and one more a minute", tt.name, n)
		}
		if lines(p, none...) != 0 {
			t.Errorf("%s: a warning says that nothing waits", tt.name)
		}
		if n := lines(p, ends...) - ended; n != 1 {
			t.Errorf("%s: %d lines tell the end", tt.name, n)
		}
	}
	if l := f.end("right-secret"); l.PossibleDuplicates != 0 || l.DeadLettered != 1 {
		t.Errorf("ledger %+v", l)
	}
	if n := len(kafkatest.Kcat(t, k.Bootstrap(), dead)); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}
