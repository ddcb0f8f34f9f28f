package test

import (
	"strings"
	"testing"

	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// A broker as Huawei's DMS has them: SASL_SSL with SCRAM-SHA-512, addressed by IP, a private authority, and a
// certificate that does not have the address. This one asks for a certificate of the client as well, and has one port
// with TLS 1.2 alone and one with TLS 1.3 alone.
func TestBrokerWithoutItsAddressInTheCertificate(t *testing.T) {
	t.Parallel()
	ca, clients := tlstest.CA(t, "dms"), tlstest.CA(t, "clients")
	broker := ca.Issue(t, "broker", tlstest.Hosts("kafka.example"))
	secure := kafkatest.Secure{
		KeyStore:   tlstest.Write(t, "broker.pem", broker.KeyPEM(), broker.CertPEM()),
		TrustStore: tlstest.Write(t, "clients.pem", clients.CertPEM()), Login: true,
	}
	options := []kafkatest.Option{kafkatest.WithSecure(secure),
		kafkatest.WithAdvertise(func(_ int, target string) (string, error) { return target, nil }),
		kafkatest.WithProperty("listener.security.protocol.map", "DIRECT:PLAINTEXT,PROXIED:SASL_SSL,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT"),
		kafkatest.WithProperty("listener.name.secure.ssl.enabled.protocols", "TLSv1.3")}
	for key, value := range map[string]string{
		"ssl.enabled.protocols": "TLSv1.2", "ssl.client.auth": "required",
		"ssl.keystore.type": "PEM", "ssl.keystore.location": secure.KeyStore,
		"ssl.truststore.type": "PEM", "ssl.truststore.location": secure.TrustStore,
		"sasl.enabled.mechanisms":        "SCRAM-SHA-512",
		"scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
	} {
		options = append(options, kafkatest.WithProperty("listener.name.proxied."+key, value))
	}
	k := kafkatest.Start(t, options...)
	tls12, tls13 := k.Advertised(), k.Secure()
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

	for _, tt := range []struct{ topic, brokers, more string }{
		{"by-authority", tls13, "--tls-verify=ca"},
		{"by-name", tls13, "--tls-server-name=kafka.example --tls-min-version=1.3"},
		{"by-authority-1.2", tls12, "--tls-verify=ca"},
		{"by-name-1.2", tls12, "--tls-server-name=kafka.example"},
	} {
		t.Run(tt.topic, func(t *testing.T) {
			k.Topic(t, tt.topic, 3, nil)
			p := serve(t, tt.brokers, tt.topic, append(strings.Fields(tt.more), "--tls", "--tls-ca="+caFile, "--tls-cert="+good)...)
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
	type wrong struct{ name, brokers, more, reason, remedy string }
	rows := []wrong{
		{"no TLS there", k.Bootstrap(), "--tls --tls-verify=ca --tls-ca=" + caFile, "this may be a port without TLS", "remove --tls"},
		{"no TLS 1.3 there", tls12, "--tls --tls-verify=ca --tls-min-version=1.3 --tls-cert=" + good + " --tls-ca=" + caFile,
			"the broker has no TLS version from --tls-min-version=1.3 on", "set --tls-min-version=1.2, or enable TLS 1.3 on the broker"},
	}
	for version, brokers := range map[string]string{"1.2": tls12, "1.3": tls13} {
		rows = append(rows,
			wrong{"name " + version, brokers, "--tls --tls-cert=" + good + " --tls-ca=" + caFile, "is for kafka.example, not 127.0.0.1", "set --tls-verify=ca"},
			wrong{"authority " + version, brokers, "--tls --tls-server-name=kafka.example --tls-cert=" + good, "an authority that is not trusted, \"CN=dms\"", "put its certificate into --tls-ca"},
			wrong{"no client certificate " + version, brokers, "--tls --tls-verify=ca --tls-ca=" + caFile, "demands a certificate of the client", "set --tls-cert"},
			wrong{"foreign client certificate " + version, brokers, "--tls --tls-verify=ca --tls-ca=" + caFile + " --tls-cert=" + bad, `refuses the certificate of --tls-cert, "CN=fn", signed by "CN=stranger"`, "give one that its truststore knows"})
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			p := serve(t, tt.brokers, "nothing", strings.Fields(tt.more)...)
			said := func() string { _, answer, _ := p.Get("/readyz"); return string(answer) }
			awaitSeen(t, tt.reason+" and "+tt.remedy, func() bool {
				answer := said()
				return strings.Contains(answer, tt.reason) && strings.Contains(answer, tt.remedy)
			})
		})
	}
}
