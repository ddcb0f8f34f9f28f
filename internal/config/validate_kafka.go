package config

import (
	"net"
	"os"
	"strconv"
	"strings"
)

func (c *Config) checkAddresses(p *Problems) {
	if _, err := portRange(c.Listen); err != nil {
		p.add("listen", c.Listen, "must be host:port, for example 127.0.0.1:8080, or host:first-last")
	}
	if c.Admin != Off && !isHostPort(c.Admin, 0) {
		p.add("admin", c.Admin, "must be host:port, for example 127.0.0.1:9180, or off")
	}
	if c.Admin == c.Listen && !strings.HasSuffix(c.Admin, ":0") {
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
	host, ports, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
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
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n >= least
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
	if c.ClientID == "" {
		p.add("client-id", "", "must not be empty, for example ingest")
	}
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
	files := []struct{ name, path string }{{"tls-ca", c.TLSCA}, {"tls-cert", c.TLSCert}, {"tls-key", c.TLSKey}}
	for _, f := range files {
		if f.path == "" {
			continue
		}
		if !c.TLS {
			p.add(f.name, f.path, "needs --tls")
		} else if file, err := os.Open(f.path); err != nil {
			p.add(f.name, f.path, "must be a file that can be read: "+err.Error())
		} else {
			file.Close()
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		p.add("tls-cert", c.TLSCert, "--tls-cert and --tls-key are needed together")
	}
	if c.SASLMechanism == Off {
		if c.SASLUser != "" || c.SASLPassword != "" {
			p.add("sasl-mechanism", Off, "--sasl-user and --sasl-password need PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		return
	}
	if c.SASLUser == "" {
		p.add("sasl-user", "", "required with --sasl-mechanism="+c.SASLMechanism)
	}
	if c.SASLPassword == "" && c.SASLPasswordFile == "" { // a bad file was reported already
		p.add("sasl-password", "", "required with --sasl-mechanism="+c.SASLMechanism+"; better in a file, --sasl-password-file")
	}
}
