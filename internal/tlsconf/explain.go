package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// explainer turns the errors of one connection into words that name a setting.
type explainer struct {
	settings   *Settings
	material   *material
	addr, host string // what was dialled; what the certificate is compared with
}

// phase is how far a connection has come.
type phase uint8

const (
	inHandshake    phase = iota
	afterHandshake       // and nothing was read yet
)

// The words of failures, for alarms.
const (
	unknownCA         = "unknown_ca"
	wrongName         = "wrong_name"
	expired           = "expired"
	badCertificate    = "bad_certificate"
	clientCertificate = "client_certificate" // the broker wants one, or another one
	notTLS            = "not_tls"
	closesTLS         = "closes_tls"
	tlsRefused        = "tls_refused"
)

// failure is what is wrong and what ends it. The zero value: not known.
type failure struct{ kind, reason, remedy string }

// explain adds what is wrong and the remedy to an error, if they are known.
func (x *explainer) explain(err error, when phase) error {
	f := x.failure(err, when)
	if f.kind == "" && when == afterHandshake {
		return err
	}
	return &handshakeError{addr: x.addr, failure: f, cause: err}
}

func (x *explainer) failure(err error, when phase) failure {
	var (
		hostname  x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		roots     x509.SystemRootsError
		record    tls.RecordHeaderError
		remote    *net.OpError
	)
	switch {
	case errors.As(err, &hostname):
		return x.wrongName(hostname.Certificate)
	case errors.As(err, &authority):
		return x.unknownAuthority(authority.Cert)
	case errors.As(err, &invalid):
		return x.invalidCertificate(invalid)
	case errors.As(err, &roots):
		return failure{unknownCA, "this machine has no list of public authorities", "set --tls-ca"}
	case errors.As(err, &record):
		return failure{notTLS, "the broker does not talk TLS on this port", "use its TLS port in --brokers, or remove --tls"}
	case errors.As(err, &remote) && remote.Op == "remote error":
		return x.refused(remote.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		if when == afterHandshake {
			if x.material.own != nil {
				return failure{}
			}
			return failure{clientCertificate, "the broker closed the connection after the handshake", "set --tls-cert if it demands a certificate of the client"}
		}
		return failure{closesTLS, "the broker closed the connection during the handshake: this may be a port without TLS, or one with no TLS version from --tls-min-version=" + x.settings.MinVersion + " on",
			"use its TLS port in --brokers, or remove --tls; if it speaks TLS, " + x.otherVersion()}
	}
	return failure{}
}

func (x *explainer) wrongName(c *x509.Certificate) failure {
	host := x.host
	if x.settings.ServerName != "" {
		host += " (--tls-server-name)"
	}
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, printable(name))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const only = "set --tls-verify=ca to check the authority without the name"
	if len(names) == 0 {
		return failure{wrongName, fmt.Sprintf("the broker's certificate names no host, only the common name %s, which counts for nothing", quoted(c.Subject.CommonName)), only}
	}
	const most = 5 // a certificate may have hundreds
	list := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		list += ", …"
	}
	return failure{wrongName, fmt.Sprintf("the broker's certificate is for %s, not %s", list, host), only + ", or --tls-server-name to a name of the certificate"}
}

func (x *explainer) unknownAuthority(c *x509.Certificate) failure {
	for _, a := range x.material.authorities {
		if c != nil && bytes.Equal(a.RawSubject, c.RawIssuer) && !within(a, time.Now()) {
			return expiredAuthority(a)
		}
	}
	remedy := "put its certificate into --tls-ca"
	if len(x.settings.CA) > 0 {
		remedy = "it is not in --tls-ca=" + strings.Join(x.settings.CA, ",") + ", put its certificate there"
	}
	switch {
	case c == nil:
		return failure{unknownCA, "the authority that signed the broker's certificate is not trusted", remedy}
	case bytes.Equal(c.RawIssuer, c.RawSubject):
		return failure{unknownCA, fmt.Sprintf("the broker's certificate %s is signed by itself and not trusted", quoted(c.Subject.String())), remedy}
	}
	return failure{unknownCA, fmt.Sprintf("the broker's certificate %s was signed by an authority that is not trusted, %s", quoted(c.Subject.String()), quoted(c.Issuer.String())), remedy}
}

func (x *explainer) invalidCertificate(e x509.CertificateInvalidError) failure {
	switch e.Reason {
	case x509.Expired:
		if slices.ContainsFunc(x.material.authorities, e.Cert.Equal) {
			return expiredAuthority(e.Cert)
		}
		return failure{expired, fmt.Sprintf("the broker's certificate %s %s", quoted(e.Cert.Subject.String()), validity(e.Cert)), "renew it on the broker, or set the clock of this machine right"}
	case x509.IncompatibleUsage:
		return failure{badCertificate, fmt.Sprintf("the broker's certificate %s is not meant for a server (extended key usage)", quoted(e.Cert.Subject.String())), "give the broker one that is"}
	}
	return failure{badCertificate, fmt.Sprintf("the broker's certificate %s is not valid", quoted(e.Cert.Subject.String())), "give the broker another one"}
}

func expiredAuthority(c *x509.Certificate) failure {
	return failure{expired, fmt.Sprintf("the authority %s of --tls-ca %s", quoted(c.Subject.String()), validity(c)), "put its new certificate there"}
}

func within(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// validity says since when a certificate is not valid.
func validity(c *x509.Certificate) string {
	const day = "2006-01-02 15:04 MST"
	if time.Now().Before(c.NotBefore) {
		return "is not valid before " + c.NotBefore.UTC().Format(day)
	}
	return "expired on " + c.NotAfter.UTC().Format(day)
}

// printable is text that comes from a certificate, which anyone may have written, for a log line.
func printable(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Trim(strconv.QuoteToGraphic(text), `"`)
}

// quoted is printable text in quotation marks.
func quoted(text string) string { return `"` + printable(text) + `"` }

// Alerts by which brokers refuse a connection (RFC 8446, section 6).
const (
	alertHandshakeFailure       tls.AlertError = 40
	alertBadCertificate         tls.AlertError = 42
	alertUnsupportedCertificate tls.AlertError = 43
	alertCertificateRevoked     tls.AlertError = 44
	alertCertificateExpired     tls.AlertError = 45
	alertCertificateUnknown     tls.AlertError = 46
	alertUnknownCA              tls.AlertError = 48
	alertAccessDenied           tls.AlertError = 49
	alertDecryptError           tls.AlertError = 51
	alertProtocolVersion        tls.AlertError = 70
	alertUnrecognizedName       tls.AlertError = 112
	alertCertificateRequired    tls.AlertError = 116
)

// otherVersion is what to do about a broker without a TLS version that is taken here. 1.2 is the lowest that
// --tls-min-version can have.
func (x *explainer) otherVersion() string {
	if x.settings.MinVersion == Version13 {
		return "set --tls-min-version=1.2, or enable TLS 1.3 on the broker (ssl.enabled.protocols)"
	}
	return "enable TLS 1.2 or 1.3 on the broker (ssl.enabled.protocols)"
}

// refused is what an alert means that the broker has sent. Package tls has no public type for one outside of
// QUIC, but the same words.
func (x *explainer) refused(alert error) failure {
	is := func(codes ...tls.AlertError) bool {
		return slices.ContainsFunc(codes, func(c tls.AlertError) bool { return c.Error() == alert.Error() })
	}
	aboutCertificate := is(alertBadCertificate, alertUnsupportedCertificate, alertCertificateRevoked, alertCertificateExpired,
		alertCertificateUnknown, alertUnknownCA, alertAccessDenied, alertDecryptError, alertCertificateRequired)
	own := x.material.own
	switch {
	case is(alertProtocolVersion):
		return failure{tlsRefused, "the broker has no TLS version from --tls-min-version=" + x.settings.MinVersion + " on", x.otherVersion()}
	case is(alertUnrecognizedName):
		return failure{wrongName, "the broker does not know the name " + x.host, "set --tls-server-name to the name of its certificate"}
	case own == nil && (aboutCertificate || is(alertHandshakeFailure)):
		return failure{clientCertificate, "the broker demands a certificate of the client", "set --tls-cert and --tls-key"}
	case aboutCertificate && !within(own.Leaf, time.Now()):
		return failure{clientCertificate, fmt.Sprintf("the broker refuses the certificate of --tls-cert, %s, which %s", quoted(own.Leaf.Subject.String()), validity(own.Leaf)), "renew it"}
	case aboutCertificate:
		return failure{clientCertificate, fmt.Sprintf("the broker refuses the certificate of --tls-cert, %s, signed by %s", quoted(own.Leaf.Subject.String()), quoted(own.Leaf.Issuer.String())),
			"give one that its truststore knows"}
	}
	return failure{tlsRefused, "the broker refuses the TLS handshake", "give it a version and a cipher in common with this program (--tls-min-version)"}
}
