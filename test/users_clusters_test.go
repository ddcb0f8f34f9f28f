package test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/test/cutproxy"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/oracle"
	"functiongraph-ingest/test/proc"
)

// outage posts marked events, kills the only broker half way, starts it again, and lets the rest follow. It returns what
// the oracle has read, and the last ledger.
func outage(t *testing.T, k *kafkatest.Cluster, p *proc.Process, topic string) (*oracle.Report, *proc.Ledger) {
	t.Helper()
	o := oracle.New(8)
	run, err := load.Start(t.Context(), load.Options{Addr: p.Listen, Conns: 8, MaxRate: 5000, RetryAfter: true, Recorder: o,
		Profile: load.Profile{Events: 20, Marked: true}})
	must(t, err)
	delivered := func(n int64) {
		t.Helper()
		p.WaitLedger(t, rotationPatience, "events in Kafka", func(l *proc.Ledger) bool { return l.Delivered > n })
	}
	delivered(2000)
	must(t, k.Kill(0))
	awaitSeen(t, "the outage", func() bool { return lines(p, "events do not reach Kafka", "level=WARN") > 0 })
	restarted := k.Restart(0)
	for deadline := time.Now().Add(rotationPatience); restarted != nil && time.Now().Before(deadline); {
		restarted = k.Restart(0) // ZooKeeper keeps the name of the one that was killed for a session
	}
	must(t, restarted)
	delivered(p.MustLedger(t).Delivered + 2000)
	run.Stop()
	// On a busy machine much of it is still on disk, where a stop would leave it.
	p.WaitLedger(t, 2*rotationPatience, "everything in Kafka", func(l *proc.Ledger) bool { return l.Spooled == 0 && l.InFlight == 0 })
	code, l := p.MustStop(t)
	if code != 0 || len(l.Dropped) != 0 || l.Spooled != 0 {
		t.Errorf("exit %d, ledger %+v", code, l)
	}
	r, err := o.Read(t.Context(), k.Bootstrap(), topic)
	must(t, err)
	t.Logf("%v; %d possible duplicates, %d resends recognised", r, l.PossibleDuplicates, l.DuplicatesSuppressed)
	return r, l
}

// A cluster as Huawei's DMS for Kafka has them (docs/dms.md): Kafka 2.x with ZooKeeper, SASL_SSL with SCRAM-SHA-512,
// brokers by IP, one authority, certificates without the addresses, permissions. Its broker is killed under load.
func TestLikeDMS(t *testing.T) {
	t.Parallel()
	ca := tlstest.CA(t, "dms")
	broker := ca.Issue(t, "dms-kafka") // a common name, and no address
	pem := tlstest.Write(t, "broker.pem", broker.KeyPEM(), broker.CertPEM())
	store := pem + ".p12" // brokers before 3 take no PEM without a password
	if out, err := exec.Command("openssl", "pkcs12", "-export", "-in", pem, "-out", store, "-passout", "pass:secret").CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v: %s", err, out)
	}
	const secure = "listener.name.secure.ssl."
	k := kafkatest.Start(t, kafkatest.WithVersion("2.8.2"), kafkatest.WithACLs(),
		kafkatest.WithProperty("zookeeper.session.timeout.ms", "6000"),
		kafkatest.WithProperty(secure+"keystore.type", "PKCS12"), kafkatest.WithProperty(secure+"keystore.password", "secret"),
		kafkatest.WithProperty(secure+"key.password", "secret"), kafkatest.WithSecure(kafkatest.Secure{KeyStore: store, Login: true}))
	must(t, k.SetPassword("fn", "Dms@2026, =ä"))
	for _, topic := range []string{"app-logs", "app-logs.dlq"} {
		k.Topic(t, topic, 3, nil)
		must(t, k.Grant("fn", topic, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe))
	}
	must(t, k.Grant("fn", "", kmsg.ACLOperationIdempotentWrite)) // brokers before 2.8 ask for it
	login := []string{"--tls", "--tls-verify=ca", "--tls-ca", tlstest.Write(t, "phy_ca.crt", ca.CertPEM()),
		"--sasl-mechanism=SCRAM-SHA-512", "--sasl-user=fn", "--sasl-password-file", tlstest.Write(t, "password", []byte("Dms@2026, =ä\n"))}
	p := proc.Start(t, proc.Serve(proc.Build(t), k.Secure(), "app-logs", append(login, "--ack=disk", "--spool-dir", t.TempDir())...))
	r, l := outage(t, k, p, "app-logs")
	if err := r.Err(); err != nil || l.PossibleDuplicates != 0 {
		t.Errorf("%v, %d possible duplicates", err, l.PossibleDuplicates)
	}
}

// A service as Huawei's LTS (docs/lts.md): SASL_PLAINTEXT with PLAIN, topics named by group and stream, no producer ids.
// Its broker is killed under load while answers are lost as well: nothing acknowledged is lost, and what arrives twice is
// counted.
func TestLikeLTS(t *testing.T) {
	t.Parallel()
	const (
		initProducerID = 22
		proxied        = "listener.name.proxied."
		topic          = "0a1b2c3d-0000-4000-8000-000000000001_5e6f7a8b-0000-4000-8000-000000000002"
	)
	fleet := cutproxy.NewFleet(1)
	t.Cleanup(func() { _ = fleet.Close() })
	k := kafkatest.Start(t, kafkatest.WithAdvertise(fleet.Advertise),
		kafkatest.WithProperty("listener.security.protocol.map", "DIRECT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
		kafkatest.WithProperty(proxied+"sasl.enabled.mechanisms", "PLAIN"),
		kafkatest.WithProperty(proxied+"plain.sasl.jaas.config",
			`org.apache.kafka.common.security.plain.PlainLoginModule required user_project="ak#sk";`))
	k.Topic(t, topic, 2, nil)
	k.Topic(t, topic+"-bad", 1, nil)
	fleet.Set(cutproxy.Faults{Hidden: []int16{initProducerID}, Cut: 0.02, CutKeys: []int16{cutproxy.KeyProduce}})
	serve := func(more ...string) *proc.Process {
		return proc.StartUnready(t, proc.Serve(proc.Build(t), k.Advertised(), topic, append(more, "--dead-letter-topic", topic+"-bad", "--codec=gzip",
			"--sasl-mechanism=PLAIN", "--sasl-user=project", "--sasl-password=ak#sk")...))
	}
	strict := serve()
	awaitSeen(t, "why nothing is sent", func() bool { return lines(strict, "the brokers have no producer ids", "--idempotence=prefer") > 0 })
	must(t, strict.Kill())

	p := serve("--idempotence=prefer")
	must(t, p.WaitReady(t.Context()))
	r, l := outage(t, k, p, topic)
	if r.Lost+r.RefusedDelivered+r.Damaged+r.Foreign+r.WrongKey != 0 {
		t.Errorf("%v\n%s", r, strings.Join(r.Details, "\n"))
	}
	if int64(r.Doubled+r.Repeated) > l.PossibleDuplicates || l.PossibleDuplicates == 0 || l.Idempotent {
		t.Errorf("%d arrived twice, %s are counted, idempotent %t", r.Doubled+r.Repeated, strconv.FormatInt(l.PossibleDuplicates, 10), l.Idempotent)
	}
	if n := lines(p, "in clear text"); n != 1 {
		t.Errorf("%d lines say that the password can be read on the way", n)
	}
}
