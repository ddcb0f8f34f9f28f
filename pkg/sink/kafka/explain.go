package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	kafkago "github.com/segmentio/kafka-go"
)

// Explain says in words what an error of [Probe] means, and which setting or which change of the cluster ends it. An
// error that names its remedy itself has none beside it.
func Explain(err error) (text, remedy string) {
	var code kafkago.Error
	var dns *net.DNSError
	if errors.As(err, &code) {
		return explainCode(code)
	}
	if own, ok := explained(err); ok {
		return own.Reason + " (" + printable(own.Error) + ")", own.Remedy
	}
	switch {
	case errors.As(err, &dns):
		return "the name cannot be resolved (" + dns.Err + ")", "correct --brokers, or the name service of this machine"
	case strings.Contains(err.Error(), "--sasl"):
		return err.Error(), ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there (connection refused)", "start Kafka, or correct the address in --brokers"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the host", "correct --brokers, or the network"
	case strings.Contains(err.Error(), "expecting TLS"): // kafka-go has no type for it
		return "the port talks TLS", "set --tls, or take the port without TLS"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection is closed without an answer", "set --tls if the port talks TLS, --sasl if it wants a login, or leave them out; a controller's port takes no events"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		return "no answer in time", "correct --brokers if this is no Kafka broker, look at firewalls, or raise --request-timeout"
	}
	return err.Error(), ""
}

func explainCode(code kafkago.Error) (text, remedy string) {
	text = strings.ToLower(code.Title())
	switch code {
	case kafkago.UnknownTopicOrPartition:
		return "does not exist", "create it, or set --create-topic"
	case kafkago.TopicAuthorizationFailed:
		return "access is denied", "grant DESCRIBE and WRITE on it to the user of --sasl or of --tls-cert"
	case kafkago.InvalidTopic:
		return "is no valid topic name", "correct it"
	case kafkago.ClusterAuthorizationFailed:
		return "is denied", "grant IDEMPOTENT_WRITE on the cluster or WRITE on the topic, or set --idempotence=prefer to go on without"
	case kafkago.SASLAuthenticationFailed:
		return "the login is refused", "correct --sasl-user and --sasl-password (--sasl, --sasl-password-file)"
	case kafkago.UnsupportedSASLMechanism:
		return "the broker does not offer this kind of login", "set --sasl-mechanism to one that it offers"
	case kafkago.IllegalSASLState:
		return "the port takes no login", "leave --sasl out, or take the port with SASL"
	case kafkago.LeaderNotAvailable:
		return "has no leader now", "start the brokers that hold its replicas"
	case kafkago.UnsupportedVersion:
		return "the broker does not know the request", "upgrade the broker, or set --idempotence=prefer"
	}
	return text, "look at the broker's log"
}

// IsMissing reports whether an error says that a topic does not exist.
func IsMissing(err error) bool { return errors.Is(err, kafkago.UnknownTopicOrPartition) }
