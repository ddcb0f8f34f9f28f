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

// Explain says in words what an error of [Probe] or [Read] with these settings means, and which setting or which change
// of the cluster ends it: the remedy that the running sink names, where it has one. An error that names its remedy itself
// has none beside it.
func Explain(err error, cfg *Config, deps *Deps) (text, remedy string) {
	return givenBy(cfg, deps).explain(err)
}

// Explain is [Explain] with the settings of the probe.
func (p *Probed) Explain(err error) (text, remedy string) { return p.given.explain(err) }

func (g given) explain(err error) (text, remedy string) {
	var code kafkago.Error
	var dns *net.DNSError
	if own, ok := explained(err); ok {
		return own.Reason + " (" + printable(own.Error) + ")", own.Remedy
	}
	if errors.As(err, &code) {
		return g.explainCode(code)
	}
	switch {
	case errors.As(err, &dns):
		return "the name cannot be resolved (" + dns.Err + ")", "correct --brokers, or the name service of this machine"
	case strings.Contains(err.Error(), "--sasl"):
		return err.Error(), ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there (connection refused)", g.remedy(unreachable)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the host", "correct --brokers, or the network"
	case strings.Contains(err.Error(), "expecting TLS"): // kafka-go has no type for it
		return "the port speaks TLS", g.remedy(wantsTLS)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection is closed without an answer", g.remedy(closes)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		return "no answer in time", "correct --brokers if this is no Kafka broker, look at firewalls, or raise --request-timeout"
	}
	return err.Error(), ""
}

func (g given) explainCode(code kafkago.Error) (text, remedy string) {
	text = strings.ToLower(code.Title())
	switch code {
	case kafkago.UnknownTopicOrPartition:
		return "does not exist", g.remedy(topicMissing)
	case kafkago.TopicAuthorizationFailed:
		return "access is denied", g.remedy(topicDenied)
	case kafkago.InvalidTopic:
		return "is no valid topic name", g.remedy(topicInvalid)
	case kafkago.ClusterAuthorizationFailed:
		return "is denied", g.remedy(producerDenied)
	case kafkago.SASLAuthenticationFailed:
		return "the login is refused", g.remedy(badLogin)
	case kafkago.UnsupportedSASLMechanism:
		return "the broker does not offer this kind of login", g.remedy(badMechanism)
	case kafkago.IllegalSASLState:
		return "the port takes no login", g.remedy(noLogin)
	case kafkago.LeaderNotAvailable:
		return "has no leader now", g.remedy(leaderless)
	case kafkago.UnsupportedVersion:
		return "the broker does not know the request", g.remedy(producersUnknown)
	}
	return text, "look at the broker's log"
}

// IsMissing reports whether an error says that a topic does not exist.
func IsMissing(err error) bool { return errors.Is(err, kafkago.UnknownTopicOrPartition) }

// IsDenied reports whether an error says that an operation on the cluster is not allowed.
func IsDenied(err error) bool { return errors.Is(err, kafkago.ClusterAuthorizationFailed) }
