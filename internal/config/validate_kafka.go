package config

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"functiongraph-ingest/internal/socket"
	"functiongraph-ingest/internal/tlsconf"
)

func (c *Config) checkAddresses(p *Problems) {
	if _, err := portRange(c.Listen); err != nil {
		p.add("listen", c.Listen, "must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH")
	}
	if _, isUnix := socket.UnixPath(c.Admin); c.Admin != Off && !isUnix && !isHostPort(c.Admin, 0) {
		p.add("admin", c.Admin, "must be host:port, for example 127.0.0.1:9180, unix:/PATH, or off")
	}
	if socket.Overlap(c.Admin, c.Listen) {
		p.add("admin", c.Admin, "must differ from --listen")
	}
	if c.Pprof && c.Admin == Off {
		p.add("pprof", c.Pprof, "is served on the admin address: needs --admin")
	}
}

// ListenAddresses is --listen as the addresses to be tried, in order; Validate has found it good.
func (c *Config) ListenAddresses() []string {
	list, _ := portRange(c.Listen)
	return list
}

// portRange expands host:8081-8090.
func portRange(addr string) ([]string, error) {
	if _, ok := socket.UnixPath(addr); ok {
		return []string{addr}, nil
	}
	host, ports, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if !isHost(host) {
		return nil, strconv.ErrSyntax
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return nil, err
	}
	to, err := strconv.ParseUint(last, 10, 16)
	if err != nil {
		return nil, err
	}
	if isRange && (from == 0 || to < from) {
		return nil, strconv.ErrRange
	}
	var list []string
	for port := from; port <= to; port++ {
		list = append(list, net.JoinHostPort(host, strconv.FormatUint(port, 10)))
	}
	return list, nil
}

// isHostPort accepts a numeric port from least up; port 0 lets the system choose when listening.
func isHostPort(addr string, least uint64) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isHost(host) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n >= least
}

// isHost refuses what no name and no address of a host has: a URL's parts, blanks, control characters. A percent
// sign is the zone of an IPv6 address. No name is longer than 253 bytes.
func isHost(s string) bool {
	return len(s) <= 253+len("%zone") && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("@/\\?#\"'", r) })
}

func (c *Config) checkKafka(p *Problems) {
	if c.Sink == SinkNDJSON {
		if c.Output == "" {
			p.add("output", "", "required with --sink=ndjson: a file, or - for stdout")
		}
		return
	}
	if len(c.Brokers) == 0 {
		p.add("brokers", "", "required: the Kafka brokers, for example 10.0.0.1:9092,10.0.0.2:9092")
	}
	for _, b := range c.Brokers {
		host, _, _ := net.SplitHostPort(b)
		if host == "" || !isHostPort(b, 1) {
			p.add("brokers", b, "must be host:port, for example 10.0.0.1:9092; separate brokers with commas")
		}
	}
	if c.Topic == "" {
		p.add("topic", "", "required: the Kafka topic of the events")
		return
	}
	const legal = "is not a legal topic name: 1 to 249 letters, digits, '.', '_' or '-'"
	if !isTopic(c.Topic) {
		p.add("topic", c.Topic, legal)
		return
	}
	if !isTopic(c.DeadLetterTopic) {
		p.add("dead-letter-topic", c.DeadLetterTopic, legal)
	}
	if c.DeadLetterTopic == c.Topic {
		p.add("dead-letter-topic", c.DeadLetterTopic, "must differ from --topic")
	}
	for _, t := range c.categoryTopics() {
		switch {
		case t.topic == "":
		case !isTopic(t.topic):
			p.add(t.name, t.topic, legal)
		case t.topic == c.DeadLetterTopic:
			p.add(t.name, t.topic, "must differ from --dead-letter-topic")
		}
	}
	if c.ClientID == "" {
		p.add("client-id", "", "must not be empty, for example ingest")
	}
	if !isPlain(c.ClientID) {
		p.add("client-id", c.ClientID, "must have at most 255 bytes and no control characters")
	}
	if !isPlain(c.Instance) {
		p.add("instance", c.Instance, "must have at most 255 bytes and no control characters")
	}
}

// isPlain reports whether a name can stand in a protocol's short string, a header and a log line.
func isPlain(s string) bool {
	return len(s) <= 255 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isTopic follows Kafka's own rule (org.apache.kafka.common.internals.Topic).
func isTopic(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 249 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func (c *Config) checkSecurity(p *Problems) {
	c.checkTLS(p)
	c.checkSASL(p)
	c.checkOAuth(p)
}

// BrokerTLS is the settings of connections to brokers. They mean nothing without --tls.
func (c *Config) BrokerTLS() tlsconf.Settings {
	return tlsconf.Settings{
		CA: c.TLSCA, Cert: c.TLSCert, Key: c.TLSKey,
		Verify: c.TLSVerify, ServerName: c.TLSServerName, MinVersion: c.TLSMinVersion,
	}
}

func (c *Config) checkTLS(p *Problems) {
	ca, cert := strings.Join(c.TLSCA, ","), strings.Join(c.TLSCert, ",")
	if !c.TLS {
		for _, s := range []struct{ name, value, none string }{
			{"tls-ca", ca, ""}, {"tls-verify", c.TLSVerify, tlsconf.VerifyFull}, {"tls-server-name", c.TLSServerName, ""},
			{"tls-cert", cert, ""}, {"tls-key", c.TLSKey, ""}, {"tls-min-version", c.TLSMinVersion, tlsconf.Version12},
		} {
			if s.value != s.none {
				p.add(s.name, s.value, "needs --tls")
			}
		}
		return
	}
	if c.TLSKey != "" && len(c.TLSCert) == 0 {
		p.add("tls-key", c.TLSKey, "needs --tls-cert")
	}
	for _, s := range []struct {
		name     string
		settings tlsconf.Settings
	}{
		{"tls-ca", tlsconf.Settings{CA: c.TLSCA}},
		{"tls-cert", tlsconf.Settings{Cert: c.TLSCert, Key: c.TLSKey}},
	} {
		var file *tlsconf.Error
		if _, err := tlsconf.NewClient(s.settings); errors.As(err, &file) {
			if file.Path == c.TLSKey {
				s.name = "tls-key"
			}
			p.add(s.name, file.Path, file.Text)
		}
	}
	if c.TLSVerify == tlsconf.VerifyCA && len(c.TLSCA) == 0 {
		p.add("tls-verify", c.TLSVerify, "needs --tls-ca: without it any certificate of a public authority would be accepted")
	}
}
