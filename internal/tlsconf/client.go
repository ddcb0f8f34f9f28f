package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"functiongraph-ingest/pkg/sink"
)

// The values of Settings.Verify.
const (
	VerifyFull = "full" // chain, dates, usage and name
	VerifyCA   = "ca"   // chain, dates and usage: for brokers whose certificates do not have their addresses
)

// The values of Settings.MinVersion.
const (
	Version12 = "1.2"
	Version13 = "1.3"
)

// Settings are those of a user, by flag.
type Settings struct {
	CA         []string // --tls-ca: files; none: the system's authorities
	Cert       []string // --tls-cert: files; none: no certificate of this client
	Key        string   // --tls-key: file; "": the key stands in a file of Cert
	Verify     string   // --tls-verify
	ServerName string   // --tls-server-name; "": the address that was dialled
	MinVersion string   // --tls-min-version
}

// Client makes TLS connections to brokers. All methods are safe for concurrent use.
type Client struct {
	settings Settings
	material atomic.Pointer[material]
}

// material is what was read from the files. It does not change.
type material struct {
	authorities []*x509.Certificate
	roots       *x509.CertPool   // nil: the system's
	own         *tls.Certificate // nil: none
}

// ErrVerifyNeedsCA is given for VerifyCA without authorities: every public authority would do then, for
// whatever name.
var ErrVerifyNeedsCA = errors.New("--tls-verify=ca needs --tls-ca: without it any certificate of a public authority would be accepted")

// NewClient reads the files. An error about a file is an *Error.
func NewClient(s Settings) (*Client, error) {
	if s.Verify == VerifyCA && len(s.CA) == 0 {
		return nil, ErrVerifyNeedsCA
	}
	c := &Client{settings: s}
	if err := c.Load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Load reads the files again. Connections from then on use what is in them. With an error nothing changes.
func (c *Client) Load() error {
	m, err := load(&c.settings)
	if err == nil {
		c.material.Store(m)
	}
	return err
}

// Files are the names of all files, each once.
func (c *Client) Files() []string {
	files := slices.Concat(c.settings.CA, c.settings.Cert)
	if c.settings.Key != "" {
		files = append(files, c.settings.Key)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func load(s *Settings) (*material, error) {
	m := &material{}
	if len(s.CA) > 0 {
		var err error
		if m.authorities, err = loadCA(s.CA); err != nil {
			return nil, err
		}
		m.roots = x509.NewCertPool()
		for _, c := range m.authorities {
			m.roots.AddCert(c)
		}
	}
	if len(s.Cert) > 0 {
		var err error
		if m.own, err = loadPair(s.Cert, s.Key, "--tls-key"); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Secure makes a TLS connection of c, which was dialled to addr (host:port). It returns when the handshake is
// done. The caller owns c until then, also when there is an error; the error names the setting that would help.
func (c *Client) Secure(ctx context.Context, raw net.Conn, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	m := c.material.Load()
	x := &explainer{settings: &c.settings, material: m, addr: addr, host: host}
	if c.settings.ServerName != "" {
		x.host = c.settings.ServerName
	}
	conn := &conn{Conn: tls.Client(raw, m.config(&c.settings, x.host)), explainer: x}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, x.explain(err, inHandshake)
	}
	return conn, nil
}

// config is that of a connection to host.
func (m *material) config(s *Settings, host string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.roots, ServerName: host}
	if s.MinVersion == Version13 {
		c.MinVersion = tls.VersionTLS13
	}
	if m.own != nil {
		// Whatever authorities the broker names: it may trust more than it names, and its refusal is a better
		// message than silence.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.own, nil }
	}
	if s.Verify == VerifyCA {
		c.InsecureSkipVerify = true // switches off the name, and all that verifyChain does in its place
		c.VerifyConnection = m.verifyChain
	}
	return c
}

// verifyChain is the whole of crypto/tls's verification except the name. crypto/tls calls it for every handshake,
// resumed sessions included.
func (m *material) verifyChain(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 || m.roots == nil {
		return errors.New("tls: no certificate to verify")
	}
	opts := x509.VerifyOptions{
		Roots: m.roots, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// conn explains what a broker says after the handshake: with TLS 1.3 it looks at the client's certificate only
// then.
type conn struct {
	*tls.Conn
	explainer *explainer // nil: the broker has answered something
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.explainer != nil {
		if err != nil {
			err = c.explainer.explain(err, afterHandshake)
		} else if n > 0 {
			c.explainer = nil
		}
	}
	return n, err
}

// handshakeError is why a connection could not be made secure.
type handshakeError struct {
	addr string
	failure
	cause error
}

// Error is the address, what is wrong, the remedy and what package tls said. Parts of that come from the broker's
// certificate.
func (e *handshakeError) Error() string {
	var name x509.HostnameError
	switch {
	case e.kind == "":
		return fmt.Sprintf("TLS with %s: %s", e.addr, printable(e.cause.Error()))
	case errors.As(e.cause, &name):
		return fmt.Sprintf("TLS with %s: %s: %s", e.addr, e.reason, e.remedy) // which says all that the cause does
	}
	return fmt.Sprintf("TLS with %s: %s: %s (%s)", e.addr, e.reason, e.remedy, printable(e.cause.Error()))
}

// Trouble says the same in parts; the zero value when what is wrong is not known.
func (e *handshakeError) Trouble() sink.Trouble {
	if e.kind == "" {
		return sink.Trouble{}
	}
	return sink.Trouble{Kind: e.kind, Reason: e.reason, Remedy: e.remedy, Error: e.addr + ": " + printable(e.cause.Error())}
}

// Unwrap returns what package tls said.
func (e *handshakeError) Unwrap() error { return e.cause }
