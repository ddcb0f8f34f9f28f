package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"unicode"

	kafkago "github.com/segmentio/kafka-go"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/internal/wire"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// kind is a kind of trouble. What an operator is told about it stands in kinds, and nowhere else.
type kind uint8

const (
	noTrouble kind = iota
	unreachable
	unresolved
	notKafka
	wantsTLS
	closes
	insecure
	badLogin
	badMechanism
	noLogin
	topicMissing
	topicComing
	createRefused
	topicDenied
	topicInvalid
	topicRemade
	deadTopicMissing
	deadTopicDenied
	producerDenied
	producersUnknown
	producerLate
	leaderless
	brokerAway
	addressUnknown
	silent
	throttled
	replicas
	storage
	codecRefused
	policyRefused
	versionRefused
	spoolBusy
	spoolClosed
	spoolWrites
	spoolFull
	brokerError
	otherTrouble
	troubleKinds
)

// kinds has for each kind its word (metrics, /status), what is wrong, what an operator can do, and whether it lasts
// until an operator acts. "%s" is the subject: a topic or a broker.
var kinds = [troubleKinds]struct {
	word, reason, remedy string
	act                  bool
}{
	unreachable:      {"unreachable", "no broker of %s answers", "start Kafka, or correct --brokers", false},
	unresolved:       {"unresolved", "the name of a broker of %s cannot be resolved", "correct the host names in --brokers", false},
	notKafka:         {"not_kafka", "what answers is no Kafka broker", "correct the address in --brokers, or advertised.listeners of the broker", true},
	wantsTLS:         {"wants_tls", "the port speaks TLS", "set --tls, or use the plaintext port in --brokers", true},
	closes:           {"closes", "the broker closes the connection", "set --tls if the port speaks TLS, --sasl if it asks for a login; a controller's port takes no events", true},
	insecure:         {"tls", "no secure connection to the broker can be made", "look at the error", true}, // others name theirs, see explainer
	badLogin:         {"bad_login", "the broker refuses the login", "correct --sasl-user and --sasl-password (--sasl, --sasl-password-file)", true},
	badMechanism:     {"bad_mechanism", "the broker does not take this SASL mechanism", "set --sasl-mechanism to one that the broker offers", true},
	noLogin:          {"no_login", "the port does not take a login", "remove --sasl, or use the port with SASL in --brokers", true},
	topicMissing:     {"topic_missing", "topic %s does not exist", "create the topic, or set --create-topic", true},
	topicComing:      {"topic_coming", "topic %s does not exist yet, --create-topic makes it", "wait; if this lasts look at the log of the brokers, or create the topic", false},
	createRefused:    {"create_refused", "topic %s does not exist and may not be created", "create the topic, or grant CREATE on it (--create-topic, --topic-partitions)", true},
	topicDenied:      {"topic_denied", "access to topic %s is denied", "grant DESCRIBE and WRITE on the topic to the user of --sasl or of --tls-cert", true},
	topicInvalid:     {"topic_invalid", "topic %s is not a valid name", "correct the setting that names it: --topic, --topic-platform, --topic-function or --topic-extension", true},
	topicRemade:      {"topic_remade", "topic %s was made anew with fewer partitions", "this passes within seconds; if it stays, restart: events of the others are then placed anew", true},
	deadTopicMissing: {"dead_letter_topic_missing", "the dead-letter topic %s does not exist and cannot be created", "create it, or grant CREATE on it, or name another one in --dead-letter-topic", true},
	deadTopicDenied:  {"dead_letter_topic_denied", "access to the dead-letter topic %s is denied", "grant DESCRIBE and WRITE on it to the user of --sasl or of --tls-cert, or name another one in --dead-letter-topic", true},
	producerDenied:   {"producer_denied", "the cluster refuses a producer id", "grant WRITE on the topic (brokers before 2.8: IDEMPOTENT_WRITE on the cluster as well), or set --idempotence=prefer to go on without", true},
	producersUnknown: {"producers_unknown", "the brokers have no producer ids", "set --idempotence=prefer to go on without: after an outage events may arrive twice", true},
	producerLate:     {"producer_late", "the cluster gives out no producer id yet", "wait while the brokers load their state; if it lasts look at their log", false},
	leaderless:       {"leaderless", "%s", "start the brokers that hold the replicas of these partitions", false},
	brokerAway:       {"broker_away", "%s cannot be reached", "start the broker; if its advertised.listeners names an address that cannot be reached from here, correct that", false},
	addressUnknown:   {"address_unknown", "the name that %s advertises cannot be resolved here", "correct advertised.listeners of the broker", true},
	silent:           {"silent", "%s does not answer", "look at the broker and the network; raise --request-timeout if it is only slow", false},
	throttled:        {"throttled", "the cluster throttles this client", "raise the quota of the user or of --client-id", false},
	replicas:         {"replicas", "topic %s has fewer replicas in sync than min.insync.replicas", "start the brokers that hold its replicas, or lower min.insync.replicas", false},
	storage:          {"storage", "the broker cannot write topic %s to its disk", "look at the disk and the log of the broker", false},
	codecRefused:     {"codec_refused", "the broker does not take this compression for topic %s", "set --codec=snappy, or another that the broker knows", true},
	policyRefused:    {"policy_refused", "a policy of the cluster refuses batches for topic %s", "change the policy or the topic's configuration", true},
	versionRefused:   {"version_refused", "the broker is too old for batches for topic %s", "upgrade the broker, or the message format of the topic", true},
	spoolBusy:        {"busy", "another process uses the spool", "end that process, or set another --spool-dir", true},
	spoolClosed:      {"unopened", "the spool cannot be opened", "correct --spool-dir, its owner or its mode", true},
	spoolWrites:      {"failed", "the spool cannot be written", "look at the disk of --spool-dir, and whether that folder was removed", true},
	spoolFull:        {"full", "the spool is full", "bring Kafka back, free space, or raise --spool-max (--spool-keep-free, --spool-full)", false},
	brokerError:      {"broker_error", "the broker answers with an error for topic %s", "look at the log of the broker", false},
	otherTrouble:     {"other", "Kafka cannot be used", "look at the error", false},
}

// trouble is one finding. Two of the same kind, subject and code are the same trouble, whatever their texts say.
type trouble struct {
	kind    kind
	code    int16
	subject string
	detail  string
	mend    string       // the remedy with these settings; "": that of kinds
	own     sink.Trouble // the words of an error that explains itself; zero: those of kinds
}

// explainer is an error that says itself what is wrong and what helps, as those of [Deps.Secure] may. The zero value
// says nothing.
type explainer interface{ Trouble() sink.Trouble }

// explained is what err says about itself.
func explained(err error) (t sink.Trouble, ok bool) {
	var e explainer
	if errors.As(err, &e) {
		t = e.Trouble()
	}
	return t, t.Kind != ""
}

// key is a trouble without its text.
func (t trouble) key() trouble {
	return trouble{kind: t.kind, code: t.code, subject: t.subject, own: sink.Trouble{Kind: t.own.Kind}}
}

func (t trouble) same(u trouble) bool { return t.key() == u.key() }

func (t trouble) word() string {
	if t.own.Kind != "" {
		return t.own.Kind
	}
	return kinds[t.kind].word
}

func (t trouble) reason() string {
	if t.own.Kind != "" {
		return t.own.Reason
	}
	if k := kinds[t.kind].reason; strings.Contains(k, "%s") {
		return fmt.Sprintf(k, t.subject)
	}
	return kinds[t.kind].reason
}

func (t trouble) remedy() string {
	if t.own.Kind != "" {
		return t.own.Remedy
	}
	return cmp.Or(t.mend, kinds[t.kind].remedy)
}

// Error is the whole of it in one line, for /readyz.
func (t trouble) Error() string {
	text := t.reason()
	if t.detail != "" {
		text += " (" + t.detail + ")"
	}
	return text + ": " + t.remedy()
}

// seen is the trouble as others see it.
func (t trouble) seen() sink.Trouble {
	if t.kind == noTrouble {
		return sink.Trouble{}
	}
	return sink.Trouble{Kind: t.word(), Reason: t.reason(), Remedy: t.remedy(), Error: t.detail}
}

// detailBytes bounds what is repeated of an error.
const detailBytes = 600

// printable is foreign text without control characters and within bounds.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > detailBytes {
		s = strings.ToValidUTF8(s[:detailBytes], "") + "..."
	}
	return strings.TrimSpace(s)
}

// troubled is an error whose kind is known where it happens.
type troubled struct {
	trouble
	err error
}

func (e *troubled) Unwrap() error { return e.err }

// inTrouble wraps err, which is not nil.
func inTrouble(k kind, subject string, err error) error {
	t := trouble{kind: k, subject: subject, detail: printable(err.Error())}
	var code kafkago.Error
	if errors.As(err, &code) {
		t.code = int16(code)
	}
	return &troubled{t, err}
}

// lookTrouble is the trouble behind an error of the steward's look at the cluster.
func (g given) lookTrouble(err error) trouble {
	var known *troubled
	switch {
	case err == nil:
		return trouble{}
	case errors.As(err, &known):
		return known.trouble
	}
	return g.connTrouble(err, unreachable, unresolved, fmt.Sprint(g.Brokers))
}

// sendTrouble is the trouble behind an error in place of an answer to a produce request.
func (g given) sendTrouble(err error, broker int32) trouble {
	name := fmt.Sprintf("broker %d", broker)
	t := g.connTrouble(err, brokerAway, addressUnknown, name)
	if t.kind == brokerAway && errors.Is(err, context.DeadlineExceeded) || t.kind == closes {
		// A connection that has worked is closed by a broker that ends, too.
		t.kind, t.subject, t.mend = brokerAway, name, ""
		if errors.Is(err, context.DeadlineExceeded) {
			t.kind = silent
		}
	}
	return t
}

// connTrouble sorts an error of a connection. away and unknown are what it means that the address does not answer, or
// cannot be resolved.
func (g given) connTrouble(err error, away, unknown kind, subject string) trouble {
	if own, ok := explained(err); ok {
		return trouble{kind: insecure, detail: printable(own.Error), own: own}
	}
	t := trouble{detail: printable(err.Error())}
	var (
		code   kafkago.Error
		dns    *net.DNSError
		verify *tls.CertificateVerificationError
		header tls.RecordHeaderError
		op     *net.OpError

		stranger *wire.NotKafkaError
	)
	switch {
	case errors.As(err, &code):
		t.code = int16(code)
		t.kind = loginKind(code)
	case errors.As(err, &dns):
		t.kind, t.subject = unknown, subject
	case errors.As(err, &verify), errors.As(err, &header), errors.As(err, &op) && op.Op == "remote error":
		t.kind = insecure
	case errors.As(err, &stranger):
		t.kind = notKafka
		if stranger.TLS {
			t.kind = wantsTLS
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		t.kind = closes
	case errors.As(err, &op), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		t.kind, t.subject = away, subject
	default:
		t.kind = otherTrouble
	}
	t.mend = g.remedy(t.kind)
	return t
}

// loginKind sorts a code of a connection that was refused.
func loginKind(code kafkago.Error) kind {
	switch code {
	case kafkago.SASLAuthenticationFailed:
		return badLogin
	case kafkago.UnsupportedSASLMechanism:
		return badMechanism
	case kafkago.IllegalSASLState:
		return noLogin
	}
	return otherTrouble
}

// codeTrouble is the trouble behind a code of the broker for one topic.
func (g given) codeTrouble(t *topic, code int16, msg string) trouble {
	k := brokerError
	switch code {
	case 3:
		switch k = topicMissing; {
		case t.dead:
			k = deadTopicMissing
		case g.CreateTopic:
			k = topicComing
		}
	case 5, 6, 9, 72, 74, 75:
		return trouble{kind: leaderless, subject: fmt.Sprintf("the leader of a partition of topic %s has moved", t.name), detail: codeText(code, msg)}
	case 17:
		k = topicInvalid
	case 19, 20:
		k = replicas
	case 29:
		k = topicDenied
		if t.dead {
			k = deadTopicDenied
		}
	case 31:
		k = producerDenied
	case 35, 43:
		k = versionRefused
	case 44:
		k = policyRefused
	case 56:
		k = storage
	case 76:
		k = codecRefused
	case 89:
		k = throttled
	case -1:
		if g.Codec == recordbatch.Zstd { // a broker before 2.1 cannot name it
			k = codecRefused
		}
	}
	return trouble{kind: k, code: code, subject: t.name, detail: codeText(code, msg), mend: g.remedy(k)}
}

// topicError is the error of a topic that metadata cannot describe.
func (g given) topicError(t *topic, err error) error {
	var code kafkago.Error
	if !errors.As(err, &code) {
		return inTrouble(otherTrouble, t.name, err)
	}
	return &troubled{g.codeTrouble(t, int16(code), ""), err}
}

// producerError is why there is no producer id now.
func (g given) producerError(err error) error {
	var code kafkago.Error
	if !errors.As(err, &code) {
		return fmt.Errorf("no producer id yet: %w", err)
	}
	return &troubled{trouble{kind: producerLate, code: int16(code), detail: codeText(int16(code), "")}, err}
}

// leaderlessError says that missing of the partitions of a topic have no leader.
func leaderlessError(topic string, missing, of int) error {
	subject := "some partitions of topic " + topic + " have no leader"
	if missing == of {
		subject = "no partition of topic " + topic + " has a leader"
	}
	return inTrouble(leaderless, subject, fmt.Errorf("%d of %d", missing, of))
}

// codeText is the name of a code, and what the broker says beside it.
func codeText(code int16, msg string) string {
	if msg = printable(msg); msg != "" {
		return codeName(code) + ": " + msg
	}
	return codeName(code)
}
