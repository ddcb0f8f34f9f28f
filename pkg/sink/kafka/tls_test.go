package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// selfSigned is a certificate for 127.0.0.1 and the pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLSWithSCRAM(t *testing.T) {
	cert, pool := selfSigned(t)
	c := cluster(t, 2, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}),
		kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "user", "secret"))
	login := SASL{"SCRAM-SHA-512", "user", "secret"}
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.TLS, cfg.SASL = &tls.Config{RootCAs: pool}, login })
	appendAll(t, s, 100, 10, nil)
	if st := closeSink(t, s); st.Delivered != 100 {
		t.Errorf("stats %+v", st)
	}
	stranger := start(t, c, func(cfg *Config, _ *Deps) { cfg.TLS, cfg.SASL = &tls.Config{RootCAs: x509.NewCertPool()}, login })
	waitFor(t, func() bool {
		err := stranger.Ready()
		return err != nil && strings.Contains(err.Error(), "certificate")
	})
}
