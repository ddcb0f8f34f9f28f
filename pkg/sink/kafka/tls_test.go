package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/pkg/sink"
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
	if d := stranger.Delivery(); d.Trouble.Kind != "tls" {
		t.Errorf("%+v", d)
	}
}

// wise explains itself.
type wise struct{ error }

func (wise) Trouble() sink.Trouble {
	return sink.Trouble{Kind: "odd", Reason: "the moon is full", Remedy: "wait", Error: "\x1b howling"}
}

// An error of Deps.Secure that explains itself is told in its own words, by the running sink and by a probe.
func TestErrorsOfSecureThatExplainThemselves(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	s := start(t, c, func(_ *Config, d *Deps) {
		d.Secure = func(context.Context, net.Conn, string) (net.Conn, error) { return nil, wise{io.EOF} }
	})
	waitFor(t, func() bool { return s.Delivery().State == sink.Failed })
	if got := s.Delivery().Trouble; got.Kind != "odd" || got.Reason != "the moon is full" || got.Remedy != "wait" || got.Error != "howling" {
		t.Errorf("%+v", got)
	}
	if text, remedy := Explain(fmt.Errorf("dial: %w", wise{io.EOF}), new(Config), new(Deps)); text != "the moon is full (howling)" || remedy != "wait" {
		t.Errorf("%q, %q", text, remedy)
	}
	closeSink(t, s)
}
