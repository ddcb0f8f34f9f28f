package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
)

// Dialer makes connections that are ready for requests.
type Dialer struct {
	Config
	large *large
}

// Refusable is a login that knows more about why a broker may have refused it than the broker tells.
type Refusable interface {
	sasl.StateMachine
	// Refused returns an error that wraps the broker's.
	Refused(err error) error
}

// NewDialer returns a Dialer.
func NewDialer(c Config) *Dialer { return &Dialer{c, newLarge()} }

// Config says how connections are made.
type Config struct {
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Secure makes a TLS connection of one that was dialled, handshake included; nil: plaintext.
	Secure   func(ctx context.Context, c net.Conn, address string) (net.Conn, error)
	SASL     sasl.Mechanism // nil: none
	ClientID string
}

// Connect dials a broker, agrees on versions and authenticates, all before ctx ends.
func (d *Dialer) Connect(ctx context.Context, address string) (*Conn, error) {
	conn, err := d.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		address: address, clientID: d.ClientID, conn: conn, plain: d.Secure == nil, loggedIn: d.SASL != nil, large: d.large,
		answers: map[protocol.ApiKey]answer{}, limit: maxFirstFrame, buf: make([]byte, 1<<10),
		interrupt: func() { _ = conn.SetDeadline(time.Unix(1, 0)) },
	}
	err = c.within(ctx, func() error {
		if err := c.negotiate(ctx); err != nil || d.SASL == nil {
			return err
		}
		return c.authenticate(ctx, d.SASL)
	})
	if err == nil && c.broken {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		if _, ok := errors.AsType[*NotKafkaError](err); !ok {
			err = fmt.Errorf("%s: %w", address, err)
		}
		return nil, err
	}
	c.limit = MaxFrame
	return c, nil
}

// dial connects and makes the connection secure. Errors name the address.
func (d *Dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	raw, err := d.Dial(ctx, "tcp", address)
	if err != nil || d.Secure == nil {
		return raw, err
	}
	// The handshake has a context, but not every step of it may look at that.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := d.Secure(ctx, raw, address)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// negotiate asks which versions the broker knows.
func (c *Conn) negotiate(ctx context.Context) error {
	m, err := c.exchange(ctx, &apiversions.Request{})
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			hint := ""
			if c.plain {
				hint = ", and does it ask for TLS (--tls)"
			}
			return fmt.Errorf("the connection was ended before the first answer; is this the port of a broker%s? %w", hint, err)
		}
		return err
	}
	res, ok := m.(*apiversions.Response)
	switch {
	case !ok:
		return fmt.Errorf("wire: unexpected answer %T", m)
	case res.ErrorCode != 0:
		return fmt.Errorf("the versions of requests cannot be agreed on: %w", kafkago.Error(res.ErrorCode))
	}
	c.versions = map[protocol.ApiKey]span{}
	for _, k := range res.ApiKeys {
		if k.ApiKey < 0 || k.ApiKey > maxAPIKey {
			continue // it is not asked for, and each connection keeps the list
		}
		c.versions[protocol.ApiKey(k.ApiKey)] = span{k.MinVersion, k.MaxVersion}
	}
	clear(c.answers)
	return nil
}

// authenticate proves who we are.
func (c *Conn) authenticate(ctx context.Context, mechanism sasl.Mechanism) error {
	m, err := c.exchange(ctx, &saslhandshake.Request{Mechanism: mechanism.Name()})
	if err != nil {
		return err
	}
	if res, ok := m.(*saslhandshake.Response); !ok || res.ErrorCode != 0 {
		return fmt.Errorf("the broker does not take SASL %s, it takes %.200q: %w", mechanism.Name(), res.Mechanisms, kafkago.Error(res.ErrorCode))
	}
	session, token, err := mechanism.Start(ctx)
	if err != nil {
		return err
	}
	first := token // has what is secret, if anything has
	for range maxRounds {
		challenge, err := c.sendToken(ctx, token, first)
		if errors.Is(err, io.EOF) {
			err = kafkago.SASLAuthenticationFailed // the way brokers refused before Kafka 1.0
		}
		if r, ok := session.(Refusable); ok && errors.Is(err, kafkago.SASLAuthenticationFailed) {
			return r.Refused(err)
		}
		if err != nil {
			return err
		}
		if err := checkIterations(challenge); err != nil {
			return &NotKafkaError{c.address, err.Error(), false}
		}
		done, next, err := session.Next(ctx, challenge)
		if err != nil {
			return fmt.Errorf("SASL %s: %w", mechanism.Name(), err)
		}
		if done {
			return nil
		}
		token = next
	}
	return c.notKafka("SASL %s does not end after %d rounds", mechanism.Name(), maxRounds)
}

// sendToken sends one token of the exchange that began with first, and returns the broker's.
func (c *Conn) sendToken(ctx context.Context, token, first []byte) ([]byte, error) {
	if handshake, err := c.answerTo(protocol.SaslHandshake); err != nil || handshake.version == 0 {
		return c.sendBareToken(ctx, token)
	}
	m, err := c.exchange(ctx, &saslauthenticate.Request{AuthBytes: token})
	if err != nil {
		return nil, err
	}
	res, ok := m.(*saslauthenticate.Response)
	if !ok {
		return nil, fmt.Errorf("wire: unexpected answer %T", m)
	}
	if res.ErrorCode != 0 {
		return nil, fmt.Errorf("%w: %.200s", kafkago.Error(res.ErrorCode), withoutSecret(res.ErrorMessage, first))
	}
	if res.SessionLifetimeMs > 0 {
		// The last request before the end must be answered before it, too.
		c.expires = time.Now().Add(time.Duration(min(res.SessionLifetimeMs, 1<<40)) * time.Millisecond / 10 * 9)
	}
	return res.AuthBytes, nil
}

// withoutSecret is a broker's message without what it repeats of a login: the password of PLAIN (RFC 4616, section 2)
// or the token of OAUTHBEARER (RFC 7628, section 3.1).
func withoutSecret(message string, sent []byte) string {
	secret := ""
	if at := bytes.LastIndexByte(sent, 0); at >= 0 {
		secret = string(sent[at+1:])
	} else if _, after, ok := strings.Cut(string(sent), "auth=Bearer "); ok {
		secret, _, _ = strings.Cut(after, "\x01")
	}
	if secret == "" {
		return message
	}
	return strings.ReplaceAll(message, secret, "********")
}

// sendBareToken is sendToken for brokers before Kafka 1.0: tokens have a length and no header.
func (c *Conn) sendBareToken(ctx context.Context, token []byte) ([]byte, error) {
	if _, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)); err != nil {
		return nil, err
	}
	frame, done, err := c.readFrame(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return append([]byte(nil), frame[4:]...), nil
}

// checkIterations refuses a SCRAM challenge (RFC 5802, section 5.1: i=) that would keep a processor busy for long.
// Other mechanisms' tokens pass.
func checkIterations(challenge []byte) error {
	if !strings.HasPrefix(string(challenge[:min(len(challenge), 2)]), "r=") {
		return nil
	}
	for attribute := range strings.SplitSeq(string(challenge), ",") {
		digits, ok := strings.CutPrefix(attribute, "i=")
		if !ok {
			continue
		}
		if n := strings.TrimLeft(digits, "0"); len(n) > 7 || len(n) == 7 && n > "1000000" {
			return fmt.Errorf("the broker asks for %.20s SCRAM iterations, at most %d are made", digits, maxIterations)
		}
	}
	return nil
}
