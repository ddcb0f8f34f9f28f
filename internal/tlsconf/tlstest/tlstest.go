// Package tlstest makes certificate authorities and certificates for tests.
package tlstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Pair is a certificate with its private key; Issue makes further ones that it has signed.
type Pair struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
	// Chain is Cert and the authorities above it, without the one that signed itself.
	Chain []*x509.Certificate
}

// Change alters a certificate before it is signed.
type Change func(*x509.Certificate)

// Hosts are the names and IP addresses that the certificate is for.
func Hosts(hosts ...string) Change {
	return func(c *x509.Certificate) {
		for _, h := range hosts {
			if ip := net.ParseIP(h); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, h)
			}
		}
	}
}

// Usage replaces the extended key usage, which is that of servers and clients; none leaves the extension out.
func Usage(usage ...x509.ExtKeyUsage) Change {
	return func(c *x509.Certificate) { c.ExtKeyUsage = usage }
}

// Valid gives the certificate another span of time, counted from now.
func Valid(from, to time.Duration) Change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

// Authority lets the certificate sign others.
func Authority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	c.ExtKeyUsage = nil
}

// CA is an authority that has signed itself.
func CA(t testing.TB, name string, changes ...Change) *Pair {
	t.Helper()
	return sign(t, nil, name, append([]Change{Authority}, changes...))
}

// SelfSigned is a certificate of a server that has signed itself.
func SelfSigned(t testing.TB, name string, changes ...Change) *Pair {
	t.Helper()
	return sign(t, nil, name, changes)
}

// Issue is a certificate that p has signed.
func (p *Pair) Issue(t testing.TB, name string, changes ...Change) *Pair {
	t.Helper()
	return sign(t, p, name, changes)
}

func sign(t testing.TB, issuer *Pair, name string, changes []Change) *Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, change := range changes {
		change(template)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Cert, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pair{Cert: cert, Key: key, Chain: []*x509.Certificate{cert}}
	if issuer != nil && !bytes.Equal(issuer.Cert.RawIssuer, issuer.Cert.RawSubject) {
		p.Chain = append(p.Chain, issuer.Chain...)
	}
	return p
}

// CertPEM is the chain as PEM.
func (p *Pair) CertPEM() []byte {
	var out []byte
	for _, c := range p.Chain {
		out = append(out, Block("CERTIFICATE", c.Raw)...)
	}
	return out
}

// KeyPEM is the key as PEM, in PKCS#8.
func (p *Pair) KeyPEM() []byte { return Block("PRIVATE KEY", p.KeyDER()) }

// KeyDER is the key in PKCS#8.
func (p *Pair) KeyDER() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		panic("tlstest: " + err.Error())
	}
	return der
}

// Block is one block of PEM.
func Block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TLS is the pair as crypto/tls takes it.
func (p *Pair) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: p.Key}
	for _, cert := range p.Chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// Pool trusts the certificate.
func (p *Pair) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Cert)
	return pool
}

// Write puts contents into a new file of the test's and returns its name.
func Write(t testing.TB, name string, contents ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, bytes.Join(contents, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
