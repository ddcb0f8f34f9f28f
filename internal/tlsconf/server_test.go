package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/tlsconf/tlstest"
)

// handshake runs both ends and returns what each said.
func handshake(t *testing.T, s *Server, c *tls.Config) (state tls.ConnectionState, server, client error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	deadline := time.Now().Add(30 * time.Second)
	_, _ = a.SetDeadline(deadline), b.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		conn := s.Secure(a)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte("x"))
		} else {
			_ = a.Close()
		}
		done <- err
	}()
	conn := tls.Client(b, c)
	client = conn.Handshake()
	if client == nil {
		_, client = io.ReadFull(conn, make([]byte, 1)) // with TLS 1.3 a refusal comes after the handshake
	}
	_ = b.Close()
	return conn.ConnectionState(), <-done, client
}

func TestServerHandshakes(t *testing.T) {
	ca, other := tlstest.CA(t, "ca"), tlstest.CA(t, "other")
	own := ca.Issue(t, "server", tlstest.Hosts("localhost"))
	cert, key := tlstest.Write(t, "cert.pem", own.CertPEM()), tlstest.Write(t, "key.pem", own.KeyPEM())
	authorities := tlstest.Write(t, "ca.pem", ca.CertPEM())
	client := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
		if change != nil {
			change(c)
		}
		return c
	}
	shows := func(p *tlstest.Pair) func(*tls.Config) {
		return func(c *tls.Config) { c.Certificates = []tls.Certificate{p.TLS()} }
	}
	huge := ca.Issue(t, "huge", func(c *x509.Certificate) {
		for range 2000 {
			c.DNSNames = append(c.DNSNames, "a-name.example.org")
		}
	})
	for _, tt := range []struct {
		name   string
		mutual bool
		client *tls.Config
		ok     bool
	}{
		{"plain", false, client(nil), true},
		{"TLS 1.2", false, client(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), true},
		{"TLS 1.1", false, client(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }), false},
		{"offers HTTP/2 too", false, client(func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }), true},
		{"no certificate", true, client(nil), false},
		{"its certificate", true, client(shows(ca.Issue(t, "client"))), true},
		{"its certificate, TLS 1.2", true, client(func(c *tls.Config) { shows(ca.Issue(t, "client"))(c); c.MaxVersion = tls.VersionTLS12 }), true},
		{"another authority", true, client(shows(other.Issue(t, "client"))), false},
		{"expired", true, client(shows(ca.Issue(t, "client", tlstest.Valid(-2*time.Hour, -time.Hour)))), false},
		{"only for servers", true, client(shows(ca.Issue(t, "client", tlstest.Usage(x509.ExtKeyUsageServerAuth)))), false},
		{"more than the bound", true, client(shows(huge)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			settings := ServerSettings{Name: "--listen-tls", Cert: []string{cert}, Key: key}
			if tt.mutual {
				settings.ClientCA = []string{authorities}
			}
			s, err := NewServer(settings, nil)
			if err != nil {
				t.Fatal(err)
			}
			state, server, client := handshake(t, s, tt.client)
			if (server == nil && client == nil) != tt.ok {
				t.Errorf("server: %v, client: %v", server, client)
			}
			if p := state.NegotiatedProtocol; tt.ok && p != "" && p != "http/1.1" {
				t.Error(p)
			}
		})
	}
}

// A renewed certificate is used from the next handshake on; a broken one leaves the old one in use.
func TestServerCertificateIsRenewed(t *testing.T) {
	ca := tlstest.CA(t, "ca")
	own := ca.Issue(t, "first", tlstest.Hosts("localhost"))
	path := tlstest.Write(t, "both.pem", own.CertPEM(), own.KeyPEM())
	var s *Server
	s, err := NewServer(ServerSettings{Name: "--listen-tls", Cert: []string{path}}, func() { _ = s.Load() })
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		content []byte
		want    string
	}{{nil, "first"}, {[]byte("broken"), "first"}, {pemOf(ca.Issue(t, "second", tlstest.Hosts("localhost"))), "second"}} {
		if step.content != nil {
			if err := os.WriteFile(path, step.content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		state, _, err := handshake(t, s, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
		if err != nil || state.PeerCertificates[0].Subject.CommonName != step.want {
			t.Errorf("%s: %v", step.want, err)
		}
	}
}

func pemOf(p *tlstest.Pair) []byte { return append(p.CertPEM(), p.KeyPEM()...) }

func TestServerFiles(t *testing.T) {
	ca := tlstest.CA(t, "ca")
	cert, empty := tlstest.Write(t, "cert.pem", ca.Issue(t, "x").CertPEM()), tlstest.Write(t, "empty.pem")
	both := tlstest.Write(t, "both.pem", pemOf(ca.Issue(t, "x")))
	for _, tt := range []struct {
		s    ServerSettings
		want string
	}{
		{ServerSettings{Cert: []string{cert}}, "--listen-tls-key"},
		{ServerSettings{Cert: []string{cert}, Key: empty}, "is empty"},
		{ServerSettings{Cert: []string{both}, ClientCA: []string{empty}}, "is empty"},
	} {
		tt.s.Name = "--listen-tls"
		var file *Error
		if _, err := NewServer(tt.s, nil); !errors.As(err, &file) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.s, err)
		}
	}
}

// HTTP without TLS is answered in words.
func TestServerAnswersPlainHTTP(t *testing.T) {
	pair := tlstest.SelfSigned(t, "x")
	s, err := NewServer(ServerSettings{Cert: []string{tlstest.Write(t, "both.pem", pemOf(pair))}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		_, err := s.Secure(a).Read(make([]byte, 1))
		_ = a.Close()
		done <- err
	}()
	go func() { _, _ = io.WriteString(b, "POST / HTTP/1.1\r\n\r\n") }()
	answer, _ := io.ReadAll(b)
	if err := <-done; err == nil || !strings.Contains(string(answer), "use https") {
		t.Errorf("%v: %q", err, answer)
	}
}
