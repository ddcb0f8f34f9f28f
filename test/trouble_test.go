package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/test/internal/freeport"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// mishap is one kind of trouble: what an operator gets wrong, or the world does. docs/troubleshooting.md has the rows.
type mishap struct {
	name    string
	brokers string
	args    []string
	topic   bool   // it exists
	body    string // that is posted and may get no answer; "": none
	// begin makes the trouble, once all is well; nil: it is there from the start.
	begin func(t *testing.T, topic string)
	in    func(o *proc.Options) // how the process is started, beyond what serve is told; nil: as it is

	of    string   // what is in trouble: "" events, "dead letters", "spool"
	kinds []string // in /status, one of them
	state string   // of the delivery; "": not looked at
	ready bool     // /readyz says 200 all the same
	words []string // in the line of the log
	check []string // in what ingest check says
	warns bool     // check warns of it and ends with 0, because events are delivered all the same
	slow  bool     // it waits for the cluster or for a pause: beside other rows of the kind

	mend func(t *testing.T, topic string) // nil: only another setting does
}

// lineOf are the words with which trouble begins, and ends.
var lineOf = map[string][2]string{
	"":             {"events do not reach Kafka", "events reach Kafka again"},
	"dead letters": {"dead letters do not reach their topic", "dead letters reach their topic again"},
	"spool":        {"the spool cannot be used", "the spool can be used again"},
}

func (m *mishap) try(t *testing.T, k *kafkatest.Cluster) {
	topic := "trouble-" + strings.ToLower(strings.NewReplacer(" ", "-", ",", "", "(", "", ")", "").Replace(m.name))
	if m.topic {
		k.Topic(t, topic, 3, nil)
	}
	args := append([]string{"--ack=kafka", "--metadata-ttl=1s"}, m.args...)
	o := proc.Serve(proc.Build(t), m.brokers, topic, args...)
	if m.in != nil {
		m.in(&o)
	}
	var p *proc.Process
	if m.begin == nil {
		p = proc.StartUnready(t, o)
		awaitServed(t, p)
	} else {
		p = proc.Start(t, o)
		m.begin(t, topic)
	}
	m.post(t, p)
	began := time.Now()
	begins := append([]string{"level=WARN", lineOf[m.of][0], "reason=", "remedy="}, m.words...)
	awaitSeen(t, "the warning", func() bool { return lines(p, begins...) > 0 })
	m.told(t, p)
	m.checked(t, topic)
	if m.mend == nil {
		return
	}
	m.mend(t, topic)
	// A cluster that is loading may be another reason in between, and the last.
	ends := []string{"level=INFO", lineOf[m.of][1], "after=", "was="}
	awaitSeen(t, "the end of it", func() bool { return lines(p, ends...) > 0 })
	awaitSeen(t, "readiness", func() bool { c, _, err := p.Get("/readyz"); return err == nil && c == 200 })
	if n := lines(p, ends...); n != 1 {
		t.Errorf("%d lines say that it is over", n)
	}
	if n := lines(p, begins...); n > 1+int(time.Since(began)/time.Minute) {
		t.Errorf("%d warnings, want one and one more a minute", n)
	}
}

// post sends the body again and again, as a client would, until the test is over.
func (m *mishap) post(t *testing.T, p *proc.Process) {
	if m.body == "" {
		return
	}
	posted := make(chan struct{})
	go func() {
		defer close(posted)
		for {
			if res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(m.body)); err == nil {
				res.Body.Close()
			}
			select {
			case <-p.Exited():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { _ = p.Kill(); <-posted })
}

// told compares /status, /readyz and the metric with the row.
func (m *mishap) told(t *testing.T, p *proc.Process) {
	t.Helper()
	s := statusOf(t, p)
	found := map[string]trouble{"": s.Delivery.Trouble, "dead letters": s.Delivery.DeadLetters, "spool": s.Delivery.Spool}[m.of]
	if !slices.Contains(m.kinds, found.Kind) || found.Remedy == "" || found.Reason == "" || m.state != "" && s.Delivery.State != m.state || s.Ready != m.ready {
		t.Errorf("/status: %+v, want one of %s, %s", s, m.kinds, m.state)
	}
	code, text, err := p.Get("/readyz")
	if want := map[bool]int{true: 200, false: 503}[m.ready]; err != nil || code != want || !strings.Contains(string(text), found.Remedy) {
		t.Errorf("/readyz: %d %s (%v), want %d and %q", code, text, err, want, found.Remedy)
	}
	if figures, err := p.Metrics(); err != nil || m.state != "" && figures[`ingest_delivery_state{state="`+m.state+`"}`] != 1 {
		t.Errorf("ingest_delivery_state is not %s (%v)", m.state, err)
	}
	t.Logf("%s: %s; %s", found.Kind, found.Reason, found.Remedy)
}

// checked has ingest check look at the same settings.
func (m *mishap) checked(t *testing.T, topic string) {
	t.Helper()
	want := 1
	if m.warns {
		want = 0
	}
	awaitSeen(t, fmt.Sprintf("exit code %d and %q from check", want, m.check), func() bool { // a cluster takes a moment to know of its own trouble
		code, stdout, stderr := checked(t, append([]string{"--brokers=" + m.brokers, "--topic=" + topic, "--request-timeout=2s"}, m.args...)...)
		return code == want && !slices.ContainsFunc(m.check, func(word string) bool { return !strings.Contains(stdout+stderr, word) })
	})
}

const (
	goodEvent = `[{"traceId":"a","x":1},{"traceId":"b"},{"traceId":"c"},{"traceId":"d"},{"traceId":"e"},{"traceId":"f"}]`
	badEvent  = `[{"x":1},nonsense]`
)

// Trouble with Kafka from the start or later: one line in the log with cause and remedy, the same in /status, /readyz, the
// metrics and ingest check, and one line when it is over, without a restart.
func TestTroubleIsNamed(t *testing.T) {
	t.Parallel()
	var secure *front
	k := kafkatest.Start(t, kafkatest.WithSASL(), kafkatest.WithACLs(), kafkatest.WithAdvertise(func(_ int, target string) (string, error) {
		secure = newFront(t, "", target)
		return secure.address(), nil
	}))
	ca := tlstest.CA(t, "ours")
	good, stale := ca.Issue(t, "broker", tlstest.Hosts("127.0.0.1")), ca.Issue(t, "broker", tlstest.Hosts("127.0.0.1"), tlstest.Valid(-48*hour, -24*hour))
	strange := ca.Issue(t, "broker", tlstest.Hosts("kafka.example"))
	secure.show(t, good)
	caFile := tlstest.Write(t, "ca.pem", ca.CertPEM())
	otherCA := tlstest.Write(t, "other.pem", tlstest.CA(t, "somebody's").CertPEM())
	withTLS := []string{"--tls", "--tls-ca=" + caFile}
	show := func(p *tlstest.Pair) func(*testing.T, string) {
		return func(t *testing.T, _ string) { secure.show(t, p) }
	}
	free, err := freeport.Take(1)
	must(t, err)
	toPlain, toTLS := newFront(t, "", k.Bootstrap()), newFront(t, "", secure.address())
	toLogin, toNoLogin, toNobody := newFront(t, "", k.SASL()), newFront(t, "", k.Bootstrap()), newFront(t, "", deaf(t))
	_, port, err := net.SplitHostPort(k.Bootstrap())
	must(t, err)
	names := newNames(t)

	login := func(user, password string) []string {
		return []string{"--sasl-mechanism=SCRAM-SHA-256", "--sasl-user=" + user, "--sasl-password=" + password}
	}
	grant := func(user, topic string, operations ...kmsg.ACLOperation) {
		must(t, k.Grant(user, topic, operations...))
	}
	const write, describe = kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe
	for _, user := range []string{"fn", "reader", "stranger", "clean", "known"} {
		must(t, k.SetPassword(user, "right"))
	}
	k.Topic(t, "elsewhere", 1, nil)
	grant("reader", "elsewhere", write) // else not even a producer id is given out
	grant("clean", "trouble-acl-dead-letter-topic", write, describe)
	grant("stranger", "trouble-acl-cluster", describe)
	grant("known", "trouble-login-to-a-port-without", write, describe)

	mount := smallDisk(t)
	rows := []mishap{
		{
			name: "wrong address", brokers: net.JoinHostPort("kafka.invalid", port), topic: true, in: names.hosts, kinds: []string{"unresolved"}, state: "retrying", words: []string{"cannot be resolved", "--brokers"}, check: []string{"the name cannot be resolved", "--brokers"},
			mend: func(t *testing.T, _ string) { names.add(t, "127.0.0.1 kafka.invalid") },
		},
		{
			name: "wrong port", brokers: free[0], topic: true, kinds: []string{"unreachable"}, state: "retrying", words: []string{"--brokers", "connection refused"}, check: []string{"nothing listens there", "--brokers"},
			mend: func(t *testing.T, _ string) { newFront(t, free[0], k.Bootstrap()) },
		},
		{
			name: "never an answer", brokers: toNobody.address(), topic: true, kinds: []string{"unreachable"}, state: "retrying", words: []string{"--brokers"}, check: []string{"no answer in time", "--brokers"},
			mend: func(*testing.T, string) { toNobody.leadTo(k.Bootstrap()) },
		},
		{
			name: "TLS to a plaintext port", brokers: toPlain.address(), topic: true, args: withTLS, kinds: []string{"insecure", "closes_tls", "not_tls"}, state: "failed", words: []string{"remove --tls"}, check: []string{"--tls"},
			mend: func(*testing.T, string) { toPlain.leadTo(secure.address()) },
		},
		{
			name: "plaintext to a TLS port", brokers: toTLS.address(), topic: true, kinds: []string{"wants_tls", "closes", "not_kafka"}, state: "failed", words: []string{"--tls"}, check: []string{"--tls"},
			mend: func(*testing.T, string) { toTLS.leadTo(k.Bootstrap()) },
		},
		{
			name: "wrong authority", brokers: secure.address(), topic: true, args: []string{"--tls", "--tls-ca=" + otherCA}, kinds: []string{"unknown_ca"}, state: "failed", words: []string{"--tls-ca"}, check: []string{"--tls-ca"},
			mend: func(t *testing.T, _ string) { must(t, os.WriteFile(otherCA, ca.CertPEM(), 0o600)) },
		},
		{name: "expired certificate", brokers: secure.address(), topic: true, args: withTLS, begin: show(stale), body: goodEvent, kinds: []string{"expired"}, state: "failed", words: []string{"renew"}, check: []string{"renew"}, mend: show(good)},
		{name: "certificate for another name", brokers: secure.address(), topic: true, args: withTLS, begin: show(strange), body: goodEvent, kinds: []string{"wrong_name"}, state: "failed", words: []string{"is for kafka.example", "--tls-verify=ca"}, check: []string{"is for kafka.example"}, mend: show(good)},
		{
			name: "wrong password", brokers: k.SASL(), topic: true, args: login("fn", "wrong"), kinds: []string{"bad_login"}, state: "failed", words: []string{"--sasl-password"}, check: []string{"login", "--sasl-password"},
			mend: func(t *testing.T, topic string) {
				must(t, k.Grant("fn", topic, write, describe))
				must(t, k.SetPassword("fn", "wrong"))
			},
		},
		{
			name: "no login where one is asked for", brokers: toLogin.address(), topic: true, kinds: []string{"closes"}, state: "failed", words: []string{"--sasl"}, check: []string{"--sasl"},
			mend: func(*testing.T, string) { toLogin.leadTo(k.Bootstrap()) },
		},
		{
			name: "login to a port without", brokers: toNoLogin.address(), topic: true, args: login("known", "right"), kinds: []string{"no_login"}, state: "failed", words: []string{"remove --sasl"}, check: []string{"login"},
			mend: func(*testing.T, string) { toNoLogin.leadTo(k.SASL()) },
		},
		{
			name: "missing topic", brokers: k.Bootstrap(), kinds: []string{"topic_missing"}, state: "failed", words: []string{"does not exist", "--create-topic"}, check: []string{"does not exist", "--create-topic"},
			mend: func(t *testing.T, topic string) { k.Topic(t, topic, 3, nil) },
		},
		{
			name: "ACL topic", brokers: k.SASL(), topic: true, args: login("reader", "right"), kinds: []string{"topic_denied"}, state: "failed", words: []string{"access to topic", "grant DESCRIBE and WRITE"}, check: []string{"topic trouble-acl-topic: access is denied", "grant DESCRIBE and WRITE"},
			mend: func(t *testing.T, topic string) { must(t, k.Grant("reader", topic, write, describe)) },
		},
		{
			name: "ACL dead-letter topic", slow: true, brokers: k.SASL(), topic: true, args: append(login("clean", "right"), "--ack=accept"), body: badEvent,
			begin: func(t *testing.T, topic string) { k.Topic(t, topic+".dlq", 1, nil) },
			of:    "dead letters", kinds: []string{"dead_letter_topic_denied"}, ready: true, words: []string{"dead-letter topic", "grant DESCRIBE and WRITE"}, check: []string{"dead-letter topic trouble-acl-dead-letter-topic.dlq: access is denied"},
			mend: func(t *testing.T, topic string) { must(t, k.Grant("clean", topic+".dlq", write, describe)) },
		},
		{
			name: "ACL cluster", brokers: k.SASL(), topic: true, args: login("stranger", "right"), kinds: []string{"producer_denied"}, state: "failed", words: []string{"refuses a producer id", "IDEMPOTENT_WRITE", "--idempotence=prefer"}, check: []string{"idempotent producer: is denied", "IDEMPOTENT_WRITE"},
			mend: func(t *testing.T, topic string) {
				must(t, k.Grant("stranger", topic, write))
				must(t, k.Grant("stranger", "", kmsg.ACLOperationIdempotentWrite))
			},
		},
		{
			name: "quota", slow: true, brokers: k.Bootstrap(), topic: true, args: []string{"--client-id=slow", "--codec=none", "--ack=accept"}, body: noise(10_000),
			begin: func(t *testing.T, _ string) { setQuota(t, k, "slow", 1_000) },
			kinds: []string{"throttled"}, state: "retrying", ready: true, words: []string{"throttles this client", "raise the quota"},
			check: []string{"warning: quotas: producer_byte_rate=1000 is in force", "set for client id slow", "raise it, or set another --client-id"}, warns: true,
			mend: func(t *testing.T, _ string) { setQuota(t, k, "slow", 0) },
		},
		{
			name: "disk full", brokers: k.Bootstrap(), topic: true, args: []string{"--ack=disk", "--spool-in-memory", "--spool-keep-free=1B", "--spool-dir=" + filepath.Join(mount, "spool")}, body: noise(200_000),
			begin: func(t *testing.T, _ string) { fill(t, mount) },
			of:    "spool", kinds: []string{"full"}, ready: true, words: []string{"the spool is full", "free space"}, check: []string{"there is no room"},
			mend: func(t *testing.T, _ string) { must(t, os.Remove(filepath.Join(mount, "filler"))) },
		},
		{
			name: "broker away later", brokers: k.Bootstrap(), topic: true, body: goodEvent,
			begin: func(t *testing.T, _ string) { must(t, k.Kill(0)) },
			kinds: []string{"unreachable", "broker_away"}, state: "retrying", words: []string{"start Kafka"}, check: []string{"nothing listens there"},
			mend: func(t *testing.T, _ string) { must(t, k.Restart(0)) },
		},
	}
	last := len(rows) - 1
	t.Run("while Kafka is there", func(t *testing.T) {
		for _, m := range rows[:last] {
			t.Run(m.name, func(t *testing.T) {
				if m.slow {
					t.Parallel()
				}
				m.try(t, k)
			})
		}
		t.Run("permissions are taken under load", func(t *testing.T) {
			t.Parallel()
			permissionsAreTaken(t, k)
		})
	})
	t.Run(rows[last].name, func(t *testing.T) { rows[last].try(t, k) })
}

// noise is a body of about n bytes that does not compress.
func noise(n int) string {
	var b strings.Builder
	fmt.Fprint(&b, `[{"logs":"`)
	for r := rand.New(rand.NewPCG(1, 2)); b.Len() < n; {
		fmt.Fprintf(&b, "%016x", r.Uint64())
	}
	return b.String() + `"}]`
}

// setQuota bounds what a client may produce, in bytes a second; 0: nothing does.
func setQuota(t *testing.T, k *kafkatest.Cluster, client string, rate float64) {
	t.Helper()
	alterQuotas(t, k, kadm.ClientQuotaEntityComponent{Type: "client-id", Name: &client}, kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Value: rate, Remove: rate == 0})
}

func alterQuotas(t *testing.T, k *kafkatest.Cluster, entity kadm.ClientQuotaEntityComponent, ops ...kadm.AlterClientQuotaOp) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(k.Bootstrap(), ",")...))
	must(t, err)
	defer c.Close()
	_, err = kadm.NewClient(c).AlterClientQuotas(context.Background(), []kadm.AlterClientQuotaEntry{{Entity: kadm.ClientQuotaEntity{entity}, Ops: ops}})
	must(t, err)
}

// deaf takes connections and never answers.
func deaf(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String() // the kernel takes them: nobody accepts
}
