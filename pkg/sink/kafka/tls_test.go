package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"functiongraph-ingest/internal/tlsconf/tlstest"
)

// trusting is Deps.Secure with crypto/tls as it is.
func trusting(pool *x509.CertPool) func(context.Context, net.Conn, string) (net.Conn, error) {
	return func(ctx context.Context, c net.Conn, address string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(address)
		t := tls.Client(c, &tls.Config{RootCAs: pool, ServerName: host})
		return t, t.HandshakeContext(ctx)
	}
}

func TestTLSWithSCRAM(t *testing.T) {
	ca := tlstest.CA(t, "ca")
	cert, pool := ca.Issue(t, "broker", tlstest.Hosts("127.0.0.1")).TLS(), ca.Pool()
	c := cluster(t, 2, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}),
		kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "user", "secret"))
	login := SASL{"SCRAM-SHA-512", "user", "secret"}
	s := start(t, c, func(cfg *Config, d *Deps) { d.Secure, cfg.SASL = trusting(pool), login })
	appendAll(t, s, 100, 10, nil)
	if st := closeSink(t, s); st.Delivered != 100 {
		t.Errorf("stats %+v", st)
	}
	stranger := start(t, c, func(cfg *Config, d *Deps) { d.Secure, cfg.SASL = trusting(x509.NewCertPool()), login })
	waitFor(t, func() bool {
		err := stranger.Ready()
		return err != nil && strings.Contains(err.Error(), "certificate")
	})
}
