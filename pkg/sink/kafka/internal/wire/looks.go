package wire

import (
	"bytes"
	"fmt"
)

// NotKafkaError says that what answers at an address is no Kafka broker, or not in the way it was asked.
type NotKafkaError struct {
	Address string // host:port
	Reason  string // what it looks like, and which setting to look at; a whole clause
	TLS     bool   // it may be a broker behind TLS
}

func (e *NotKafkaError) Error() string { return e.Address + ": " + e.Reason }

// looksLike returns an error when the first bytes of an answer tell who gives it; nil when they may be a length. All
// that it knows would be a length of more than 200 MB.
func looksLike(b []byte, address string) error {
	const wrong = "check the address (--brokers)"
	switch {
	case bytes.HasPrefix(b, []byte("HTTP")):
		return &NotKafkaError{address, "an HTTP server answers, not a Kafka broker: " + wrong, false}
	case bytes.HasPrefix(b, []byte("SSH-")):
		return &NotKafkaError{address, "an SSH server answers, not a Kafka broker: " + wrong, false}
	case len(b) > 1 && (b[0] == 0x15 || b[0] == 0x16) && b[1] == 3: // an alert or a handshake of TLS 1
		return &NotKafkaError{address, "this port speaks TLS: set --tls", true}
	case printable(b):
		return &NotKafkaError{address, fmt.Sprintf("the answer begins with %q, so it is no Kafka broker: %s", b[:min(len(b), 16)], wrong), false}
	}
	return nil
}

// printable reports whether b begins with four characters of text: a length of 500 MB and more.
func printable(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	for _, c := range b[:4] {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}
