package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
)

// maxHandshake is how much of a handshake a server reads, of one connection. A client that shows a certificate sends
// 2 to 8 KiB. Package tls would keep up to 256 KiB in memory before it knows who sends it.
const maxHandshake = 16 << 10

// maxDataless is how much a server reads behind the handshake for the next data: the longest record, and a few short
// ones before it. Package tls keeps up to 256 KiB of a message that has no data, such as a certificate that nobody asked
// for.
const maxDataless = 20 << 10

// ServerSettings are those of an address that takes connections.
type ServerSettings struct {
	Name     string   // what the settings' names begin with, for example --listen-tls
	Cert     []string // files
	Key      string   // file; "": the key stands in a file of Cert
	ClientCA []string // files; none: clients show no certificate
}

// Server secures connections that clients have made. All methods are safe for concurrent use.
type Server struct {
	settings ServerSettings
	look     func()
	front    *tls.Config // asks for the present one
	present  atomic.Pointer[tls.Config]
}

// NewServer reads the files. An error about a file is an *Error. look is called before each handshake, so that
// renewed files can be read; nil: nothing is.
func NewServer(s ServerSettings, look func()) (*Server, error) {
	if look == nil {
		look = func() {}
	}
	srv := &Server{settings: s, look: look}
	srv.front = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		srv.look()
		return srv.present.Load(), nil
	}}
	if err := srv.Load(); err != nil {
		return nil, err
	}
	return srv, nil
}

// Load reads the files again. Handshakes from then on use what is in them. With an error nothing changes.
func (s *Server) Load() error {
	pair, err := loadPair(s.settings.Cert, s.settings.Key, s.settings.Name+"-key")
	if err != nil {
		return err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*pair}, NextProtos: []string{"http/1.1"}}
	if len(s.settings.ClientCA) > 0 {
		authorities, err := loadCA(s.settings.ClientCA)
		if err != nil {
			return err
		}
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		for _, a := range authorities {
			c.ClientCAs.AddCert(a)
		}
	}
	s.present.Store(c)
	return nil
}

// Files are the names of all files, each once.
func (s *Server) Files() []string {
	files := slices.Concat(s.settings.Cert, s.settings.ClientCA)
	if s.settings.Key != "" {
		files = append(files, s.settings.Key)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// Secure returns the server's end of raw. Nothing is read yet.
func (s *Server) Secure(raw net.Conn) *ServerConn {
	bound := &bounded{Conn: raw, left: maxHandshake}
	return &ServerConn{Conn: tls.Server(bound, s.front), bound: bound}
}

// ServerConn is a connection of a client. Read begins with the handshake, if Handshake was not called.
type ServerConn struct {
	*tls.Conn
	bound   *bounded
	secured bool
}

// Secured reports whether the handshake is done. Only the goroutine that reads may call it.
func (c *ServerConn) Secured() bool { return c.secured }

// plainHTTP is what a client reads that talks HTTP without TLS.
const plainHTTP = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nbad request: this port talks TLS, use https\n"

// Handshake runs the handshake, in the time that the deadlines of the connection below give.
func (c *ServerConn) Handshake() error {
	if c.Secured() {
		return nil
	}
	err := c.Conn.Handshake()
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) && notTLS.Conn != nil && isHTTP(notTLS.RecordHeader) {
		_, _ = io.WriteString(notTLS.Conn, plainHTTP)
	}
	if err == nil {
		c.secured, c.bound.left = true, maxDataless
	}
	return err
}

// isHTTP reports whether the first bytes are those of a request.
func isHTTP(b [5]byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"}, string(b[:]))
}

// Read implements net.Conn.
func (c *ServerConn) Read(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.bound.left = maxDataless
	}
	return n, err
}

var errDataless = errors.New("tls: too much came that is no data")

// bounded gives package tls at most left bytes.
type bounded struct {
	net.Conn
	left int
}

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errDataless
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
