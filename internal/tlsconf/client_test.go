package tlsconf

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/tlsconf/tlstest"
)

// serve runs handle for each connection to a new address, until the test ends.
func serve(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			handle(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

// echo answers what it is sent, over TLS.
func echo(cfg *tls.Config) func(net.Conn) {
	return func(raw net.Conn) {
		c := tls.Server(raw, cfg)
		var buf [4]byte
		if n, err := io.ReadFull(c, buf[:]); err == nil {
			_, _ = c.Write(buf[:n])
			_, _ = c.Read(buf[:]) // until the client has closed: it reads an answer, not a reset
		} else {
			_, _ = io.Copy(io.Discard, raw) // a refusal: it must not be overtaken by a reset either
		}
	}
}

// talk makes a connection and reads an answer over it.
func talk(t *testing.T, c *Client, addr string) error {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := c.Secure(ctx, raw, addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err
	}
	var buf [4]byte
	_, err = io.ReadFull(conn, buf[:])
	if err == nil && !bytes.Equal(buf[:], []byte("ping")) {
		t.Errorf("%q came back", buf)
	}
	return err
}

// check compares an error with what it must say; "" is none. What it says whole it says in parts, too.
func check(t *testing.T, err error, want string) {
	t.Helper()
	var failed *handshakeError
	if errors.As(err, &failed) {
		if told := failed.Trouble(); told.Kind == "" || !strings.Contains(err.Error(), told.Reason+": "+told.Remedy) || told.Remedy == "" {
			t.Errorf("%q is told as %+v", err, told)
		}
	}
	switch {
	case err != nil && strings.ContainsAny(err.Error(), "\n\x1b"):
		t.Errorf("%q has control characters of others", err)
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%v\nmust say %q", err, want)
	}
}

// Every kind of certificate against both ways to verify.
func TestVerify(t *testing.T) {
	ca, other := tlstest.CA(t, "company"), tlstest.CA(t, "someone else")
	below := ca.Issue(t, "department", tlstest.Authority)
	deep := below.Issue(t, "broker", tlstest.Hosts("127.0.0.1"))
	alone := *deep
	alone.Chain = alone.Chain[:1]
	self := tlstest.SelfSigned(t, "broker", tlstest.Hosts("kafka.example"))
	oldCA := tlstest.CA(t, "company of old", tlstest.Valid(-48*time.Hour, -24*time.Hour))
	here, there := tlstest.Hosts("127.0.0.1"), tlstest.Hosts("kafka.example", "10.0.0.1")
	const named = "set --tls-verify=ca to check the authority without the name, or --tls-server-name to a name of the certificate"
	for _, tt := range []struct {
		name     string
		broker   *tlstest.Pair
		trust    *tlstest.Pair
		full, ca string // what the error says; "" is none
	}{
		{"by IP", ca.Issue(t, "b", here), ca, "", ""},
		{"chain with an authority between", deep, ca, "", ""},
		{"no usage is any usage", ca.Issue(t, "b", here, tlstest.Usage()), ca, "", ""},
		{"another name", ca.Issue(t, "b", there), ca,
			"the broker's certificate is for kafka.example, 10.0.0.1, not 127.0.0.1: " + named, ""},
		{"a forged name", ca.Issue(t, "b", tlstest.Hosts("a\nb")), ca, `is for a\nb, not 127.0.0.1: ` + named, ""},
		{"CN only", ca.Issue(t, "127.0.0.1"), ca,
			`names no host, only the common name "127.0.0.1", which counts for nothing: set --tls-verify=ca`, ""},
		{"another authority", other.Issue(t, "b", here), ca, `signed by an authority that is not trusted, "CN=someone else": it is not in --tls-ca=`, "same"},
		{"the chain is not sent", &alone, ca, `not trusted, "CN=department": it is not in --tls-ca=`, "same"},
		{"expired", ca.Issue(t, "b", here, tlstest.Valid(-2*time.Hour, -time.Hour)), ca, `"CN=b" expired on `, "same"},
		{"not valid yet", ca.Issue(t, "b", here, tlstest.Valid(time.Hour, 2*time.Hour)), ca, `"CN=b" is not valid before `, "same"},
		{"the authority expired", oldCA.Issue(t, "b", here), oldCA, `the authority "CN=company of old" of --tls-ca expired on `, "same"},
		{"for clients", ca.Issue(t, "b", here, tlstest.Usage(x509.ExtKeyUsageClientAuth)), ca, "is not meant for a server", "same"},
		{"signed by itself", tlstest.SelfSigned(t, "b", here), ca, `"CN=b" is signed by itself and not trusted`, "same"},
		{"signed by itself and trusted", self, self, "is for kafka.example, not 127.0.0.1", ""},
		{"signed by what may not sign", ca.Issue(t, "no authority").Issue(t, "b", here), ca, "not trusted", "same"},
	} {
		addr := serve(t, echo(&tls.Config{Certificates: []tls.Certificate{tt.broker.TLS()}}))
		trust := []string{tlstest.Write(t, "ca.pem", tlstest.Block("CERTIFICATE", tt.trust.Cert.Raw))}
		if tt.ca == "same" {
			tt.ca = tt.full
		}
		for _, mode := range []struct{ verify, want string }{{VerifyFull, tt.full}, {VerifyCA, tt.ca}} {
			t.Run(tt.name+"/"+mode.verify, func(t *testing.T) {
				c, err := NewClient(Settings{CA: trust, Verify: mode.verify, MinVersion: Version12})
				if err != nil {
					t.Fatal(err)
				}
				check(t, talk(t, c, addr), mode.want)
			})
		}
	}
}

func TestServerName(t *testing.T) {
	ca := tlstest.CA(t, "company")
	trust := []string{tlstest.Write(t, "ca.pem", ca.CertPEM())}
	pair := ca.Issue(t, "b", tlstest.Hosts("kafka.example", "10.0.0.1"))
	sent := make(chan string, 1)
	addr := serve(t, echo(&tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		sent <- hello.ServerName
		c := pair.TLS()
		return &c, nil
	}}))
	for _, tt := range []struct{ name, sni, verify, want string }{
		{"kafka.example", "kafka.example", VerifyFull, ""},
		{"10.0.0.1", "", VerifyFull, ""}, // an address is looked for in the certificate and never sent
		{"kafka.test", "kafka.test", VerifyFull, "is for kafka.example, 10.0.0.1, not kafka.test (--tls-server-name)"},
		{"kafka.test", "kafka.test", VerifyCA, ""},
	} {
		c, err := NewClient(Settings{CA: trust, Verify: tt.verify, ServerName: tt.name, MinVersion: Version12})
		if err != nil {
			t.Fatal(err)
		}
		check(t, talk(t, c, addr), tt.want)
		if sni := <-sent; sni != tt.sni {
			t.Errorf("%s: the broker was asked for %q", tt.name, sni)
		}
	}
}

// Without --tls-ca any public certificate would pass, so that is refused wherever it is asked for.
func TestVerifyCANeedsCA(t *testing.T) {
	if _, err := NewClient(Settings{Verify: VerifyCA}); err != ErrVerifyNeedsCA {
		t.Error(err)
	}
	pair := tlstest.CA(t, "ca").Issue(t, "b")
	m := &material{}
	if err := m.verifyChain(tls.ConnectionState{PeerCertificates: pair.Chain}); err == nil {
		t.Error("a chain is good without an authority")
	}
}

// A session of an earlier connection saves the handshake, not the verification.
func TestResumedSessionsAreVerified(t *testing.T) {
	ca, other := tlstest.CA(t, "company"), tlstest.CA(t, "another")
	server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "b").TLS()}}
	addr := serve(t, echo(server))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(1)
		dial := func(m *material) (resumed bool, err error) {
			cfg := m.config(&Settings{Verify: VerifyCA}, "127.0.0.1")
			cfg.ClientSessionCache, cfg.MaxVersion = cache, version
			c, err := tls.Dial("tcp", addr, cfg)
			if err != nil {
				return false, err
			}
			defer func() { _ = c.Close() }()
			_, _ = c.Write([]byte("ping"))
			_, err = io.ReadFull(c, make([]byte, 4)) // the ticket of TLS 1.3 comes before the answer
			return c.ConnectionState().DidResume, err
		}
		good, bad := &material{roots: ca.Pool()}, &material{roots: other.Pool()}
		if _, err := dial(good); err != nil {
			t.Fatal(err)
		}
		if resumed, err := dial(good); err != nil || !resumed {
			t.Fatalf("the session is not resumed: %v", err)
		}
		if _, err := dial(bad); err == nil {
			t.Errorf("TLS %x: a resumed session is not verified", version)
		}
	}
}

// What a broker says when it does not like the client, or does not talk TLS.
func TestRefusals(t *testing.T) {
	ca, clients, foreign := tlstest.CA(t, "company"), tlstest.CA(t, "clients"), tlstest.CA(t, "foreign")
	trust := []string{tlstest.Write(t, "ca.pem", ca.CertPEM())}
	broker := ca.Issue(t, "b", tlstest.Hosts("127.0.0.1")).TLS()
	file := func(p *tlstest.Pair) []string {
		return []string{tlstest.Write(t, "client.pem", p.CertPEM(), p.KeyPEM())}
	}
	mutual := func(low, high uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{broker}, ClientAuth: tls.RequireAndVerifyClientCert,
			ClientCAs: clients.Pool(), MinVersion: low, MaxVersion: high}
	}
	tls12, tls13 := mutual(tls.VersionTLS12, tls.VersionTLS12), mutual(tls.VersionTLS13, tls.VersionTLS13)
	const demands = "the broker demands a certificate of the client: set --tls-cert and --tls-key"
	for _, tt := range []struct {
		name   string
		broker func(net.Conn)
		cert   []string
		min    string
		want   string
	}{
		{"TLS 1.2, good", echo(tls12), file(clients.Issue(t, "me")), Version12, ""},
		{"TLS 1.3, good", echo(tls13), file(clients.Issue(t, "me")), Version13, ""},
		{"TLS 1.2, none", echo(tls12), nil, Version12, demands},
		{"TLS 1.3, none", echo(tls13), nil, Version12, demands},
		{"TLS 1.2, foreign", echo(tls12), file(foreign.Issue(t, "me")), Version12, `refuses the certificate of --tls-cert, "CN=me", signed by "CN=foreign": give one`},
		{"TLS 1.3, foreign", echo(tls13), file(foreign.Issue(t, "me")), Version12, `refuses the certificate of --tls-cert, "CN=me", signed by "CN=foreign": give one`},
		{"TLS 1.3, expired", echo(tls13), file(clients.Issue(t, "me", tlstest.Valid(-2*time.Hour, -time.Hour))), Version12,
			`refuses the certificate of --tls-cert, "CN=me", which expired on `},
		{"TLS 1.2 is not enough", echo(tls12), nil, Version13, "the broker has no TLS version from --tls-min-version=1.3 on: set --tls-min-version=1.2, or enable TLS 1.3 on the broker (ssl.enabled.protocols)"},
		{"TLS 1.1 only", echo(&tls.Config{Certificates: []tls.Certificate{broker}, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}), nil, Version12,
			"the broker has no TLS version from --tls-min-version=1.2 on: enable TLS 1.2 or 1.3 on the broker (ssl.enabled.protocols)"},
		{"no TLS, closes", func(c net.Conn) { _, _ = c.Read(make([]byte, 4)) }, nil, Version12, "closed the connection during the handshake: this may be a port without TLS"},
		{"no TLS, answers", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, nil, Version12,
			"the broker does not talk TLS on this port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewClient(Settings{CA: trust, Verify: VerifyFull, Cert: tt.cert, MinVersion: tt.min})
			if err != nil {
				t.Fatal(err)
			}
			check(t, talk(t, c, serve(t, tt.broker)), tt.want)
		})
	}
}

// A broker may send any alert, also one about a certificate that it never asked for.
func TestAnyAlert(t *testing.T) {
	for _, own := range []*tlstest.Pair{nil, tlstest.CA(t, "ca").Issue(t, "me")} {
		x := &explainer{settings: &Settings{}, material: &material{}}
		if own != nil {
			x.material.own = &tls.Certificate{Leaf: own.Cert}
		}
		for code := range 256 {
			_ = x.explain(&net.OpError{Op: "remote error", Err: tls.AlertError(code)}, inHandshake)
		}
	}
}
