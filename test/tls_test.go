package test

import (
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// A broker as Huawei's DMS has them: SASL_SSL with SCRAM-SHA-512, addressed by IP, a private authority, and a
// certificate that does not have the address. This one asks for a certificate of the client as well.
func TestBrokerWithoutItsAddressInTheCertificate(t *testing.T) {
	ca, clients := tlstest.CA(t, "dms"), tlstest.CA(t, "clients")
	broker := ca.Issue(t, "broker", tlstest.Hosts("kafka.example"))
	k := kafkatest.Start(t, kafkatest.WithSecure(kafkatest.Secure{
		KeyStore:   tlstest.Write(t, "broker.pem", broker.KeyPEM(), broker.CertPEM()),
		TrustStore: tlstest.Write(t, "clients.pem", clients.CertPEM()), Login: true,
	}))
	must(t, k.SetPassword("fn", "geheim, =ä"))
	caFile := tlstest.Write(t, "ca.pem", ca.CertPEM())
	me, stranger := clients.Issue(t, "fn"), tlstest.CA(t, "stranger").Issue(t, "fn")
	good := tlstest.Write(t, "fn.pem", me.CertPEM(), me.KeyPEM())
	bad := tlstest.Write(t, "fn.pem", stranger.CertPEM(), stranger.KeyPEM())
	serve := func(t *testing.T, brokers, topic string, more ...string) *proc.Process {
		t.Helper()
		o := proc.Serve(proc.Build(t), brokers, topic, more...)
		o.Env = []string{"INGEST_SASL=fn:geheim, =ä"}
		return proc.StartUnready(t, o)
	}

	for _, tt := range []struct{ topic, more string }{
		{"by-authority", "--tls-verify=ca"},
		{"by-name", "--tls-server-name=kafka.example --tls-min-version=1.3"},
	} {
		t.Run(tt.topic, func(t *testing.T) {
			k.Topic(t, tt.topic, 3, nil)
			p := serve(t, k.Secure(), tt.topic, append(strings.Fields(tt.more), "--tls", "--tls-ca="+caFile, "--tls-cert="+good)...)
			must(t, p.WaitReady(t.Context()))
			for range 10 {
				if status, answer := post(t, p, "application/json", []byte(`[{"a":1},{"a":2},{"a":3}]`)); status != 200 {
					t.Fatalf("%d %s", status, answer)
				}
			}
			if code, l := p.MustStop(t); code != 0 || l.Delivered != 30 {
				t.Errorf("exit %d, ledger %+v", code, l)
			}
			if n := len(kafkatest.Kcat(t, k.Bootstrap(), tt.topic)); n != 30 {
				t.Errorf("%d events in the topic", n)
			}
		})
	}

	// What /readyz says names the setting that is wrong.
	for _, tt := range []struct{ name, brokers, more, reason, remedy string }{
		{"name", k.Secure(), "--tls --tls-cert=" + good + " --tls-ca=" + caFile, "is for kafka.example, not 127.0.0.1", "set --tls-verify=ca"},
		{"authority", k.Secure(), "--tls --tls-server-name=kafka.example --tls-cert=" + good, "an authority that is not trusted, \"CN=dms\"", "put its certificate into --tls-ca"},
		{"no client certificate", k.Secure(), "--tls --tls-verify=ca --tls-ca=" + caFile, "demands a certificate of the client", "set --tls-cert"},
		{"foreign client certificate", k.Secure(), "--tls --tls-verify=ca --tls-ca=" + caFile + " --tls-cert=" + bad, `refuses the certificate of --tls-cert, "CN=fn", signed by "CN=stranger"`, "give one that its truststore knows"},
		{"no TLS there", k.Bootstrap(), "--tls --tls-verify=ca --tls-ca=" + caFile, "this may be a port without TLS", "remove --tls"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := serve(t, tt.brokers, "nothing", strings.Fields(tt.more)...)
			deadline := time.Now().Add(time.Minute)
			for {
				_, answer, err := p.Get("/readyz")
				if err == nil && strings.Contains(string(answer), tt.reason) && strings.Contains(string(answer), tt.remedy) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("/readyz says %s (%v), want %q and %q", answer, err, tt.reason, tt.remedy)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
}
