package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"functiongraph-ingest/internal/bearer"
	"functiongraph-ingest/internal/socket"
	"functiongraph-ingest/internal/tlsconf"
)

// door is an address that takes connections, with what guards it.
type door struct {
	name     string // of its setting; those of its guards begin with it
	address  string
	cert, ca []string
	key      string
	tokens   string
}

func (c *Config) doors() []door {
	return []door{
		{"listen", c.Listen, c.ListenTLSCert, c.ListenTLSClientCA, c.ListenTLSKey, c.ListenTokenFile},
		{"admin", c.Admin, c.AdminTLSCert, c.AdminTLSClientCA, c.AdminTLSKey, c.AdminTokenFile},
	}
}

func (d *door) tls() tlsconf.ServerSettings {
	return tlsconf.ServerSettings{Name: "--" + d.name + "-tls", Cert: d.cert, Key: d.key, ClientCA: d.ca}
}

// ListenTLS is the TLS of --listen; false: it has none.
func (c *Config) ListenTLS() (tlsconf.ServerSettings, bool) {
	d := c.doors()[0]
	return d.tls(), len(d.cert) > 0
}

// AdminTLS is the TLS of --admin; false: it has none.
func (c *Config) AdminTLS() (tlsconf.ServerSettings, bool) {
	d := c.doors()[1]
	return d.tls(), len(d.cert) > 0
}

// SocketPerm is --socket-mode; Validate has found it good.
func (c *Config) SocketPerm() fs.FileMode {
	n, _ := strconv.ParseUint(c.SocketMode, 8, 9)
	return fs.FileMode(n)
}

// checkGuards looks at what guards the addresses.
func (c *Config) checkGuards(p *Problems) {
	for _, d := range c.doors() {
		if path, ok := socket.UnixPath(d.address); ok && (!filepath.IsAbs(path) || len(path) > socket.MaxPath || strings.ContainsRune(path, 0)) {
			p.add(d.name, d.address, fmt.Sprintf("must be unix:/PATH, with a path of at most %d bytes", socket.MaxPath))
		}
		c.checkDoor(&d, p)
	}
	if n, err := strconv.ParseUint(c.SocketMode, 8, 9); err != nil || n == 0 {
		p.add("socket-mode", c.SocketMode, "must be the mode of a file in octal, for example 0660")
	}
	for _, o := range c.CORSOrigin {
		if !isOrigin(o) {
			p.add("cors-origin", o, "must be an origin as browsers send it, https://example.org or http://localhost:3000, or *")
		}
	}
}

func (c *Config) checkDoor(d *door, p *Problems) {
	guards := []struct{ name, value string }{
		{"-tls-cert", strings.Join(d.cert, ",")}, {"-tls-key", d.key}, {"-tls-client-ca", strings.Join(d.ca, ",")}, {"-token-file", d.tokens},
	}
	for i, g := range guards {
		switch {
		case g.value == "":
		case d.name == "listen" && c.command == Extension:
			p.add(d.name+g.name, g.value, "the platform posts plain HTTP without a token: leave it out of an extension, and see --telemetry-path=random")
			return
		case d.address == Off:
			p.add(d.name+g.name, g.value, "needs --"+d.name)
			return
		case (i == 1 || i == 2) && len(d.cert) == 0:
			p.add(d.name+g.name, g.value, "needs --"+d.name+"-tls-cert")
			return
		}
	}
	if len(d.cert) > 0 {
		var file *tlsconf.Error
		if _, err := tlsconf.NewServer(d.tls(), nil); errors.As(err, &file) {
			p.add(d.name+"-tls-cert", file.Path, file.Text)
		}
	}
	if d.tokens != "" {
		if _, err := bearer.New(d.tokens); err != nil {
			p.add(d.name+"-token-file", d.tokens, err.Error())
		}
	}
}

// isOrigin accepts what a browser sends as Origin, and *.
func isOrigin(s string) bool {
	if s == "*" || s == "null" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && u.Scheme+"://"+u.Host == s
}

// unguarded are warnings about addresses that others reach.
func (c *Config) unguarded() (warnings []string) {
	d := c.doors()[0]
	if c.unread || c.command == Extension || d.address == "" || socket.Loopback(d.address) {
		return nil
	}
	switch {
	case d.tokens == "" && len(d.ca) == 0:
		warnings = append(warnings, problem(d.name, d.address, "takes events from everybody who reaches it: set --listen-token-file or --listen-tls-client-ca, or listen on 127.0.0.1 or unix:/PATH"))
	case d.tokens != "" && len(d.cert) == 0:
		warnings = append(warnings, problem(d.name, d.address, "its tokens cross the network in clear text: set --listen-tls-cert, or let a proxy do TLS"))
	}
	return warnings
}
