package kafka

import (
	"context"
	"sync/atomic"

	"github.com/segmentio/kafka-go/sasl"

	"functiongraph-ingest/pkg/sink"
)

// login is a SASL mechanism whose user and password are asked for at each login. Each has a mechanism of its own: that of
// SCRAM keeps the keys for every salt that a broker names, of failed logins too. The price is that the keys are made
// anew for each connection, which takes some milliseconds of CPU with the iterations that Kafka has by default.
type login struct {
	mechanism   string
	credentials func() (user, password string)
}

// newLogin returns nil without a login.
func newLogin(s SASL, d *Deps) (sasl.Mechanism, error) {
	if s.Mechanism == OAuthBearer {
		return &oauthBearer{token: d.Token, explain: d.TokenRefused}, nil
	}
	m, err := mechanism(s)
	if err != nil || m == nil {
		return nil, err
	}
	credentials := d.Credentials
	if credentials == nil {
		credentials = func() (user, password string) { return s.User, s.Password }
	}
	return &login{s.Mechanism, credentials}, nil
}

// Name implements sasl.Mechanism.
func (l *login) Name() string { return l.mechanism }

// Start implements sasl.Mechanism.
func (l *login) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	user, password := l.credentials()
	m, err := mechanism(SASL{Mechanism: l.mechanism, User: user, Password: password})
	if err != nil {
		return nil, nil, err
	}
	return m.Start(ctx)
}

// OAuthBearer is the mechanism of RFC 7628: a token in place of user and password.
const OAuthBearer = "OAUTHBEARER"

// oauthBearer is that mechanism. The token is asked for at each login.
type oauthBearer struct {
	token    func(ctx context.Context, rejected string) (string, error)
	explain  func(token string) sink.Trouble // nil: the broker's words are all
	rejected atomic.Pointer[string]          // the last token that a broker did not take; nil: none
}

// Name implements sasl.Mechanism.
func (o *oauthBearer) Name() string { return OAuthBearer }

// Start implements sasl.Mechanism.
func (o *oauthBearer) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	rejected := ""
	if r := o.rejected.Load(); r != nil {
		rejected = *r
	}
	token, err := o.token(ctx, rejected)
	if err != nil {
		return nil, nil, err
	}
	return &bearing{o, token}, []byte("n,,\x01auth=Bearer " + token + "\x01\x01"), nil
}

// bearing is one login.
type bearing struct {
	o     *oauthBearer
	token string
}

// Next implements sasl.StateMachine. A broker that takes the token has nothing more to say; one that does not sends an
// error as JSON, and waits for one byte before it refuses the login (RFC 7628, section 3.2.3).
func (b *bearing) Next(_ context.Context, challenge []byte) (done bool, response []byte, err error) {
	if len(challenge) == 0 {
		return true, nil, nil
	}
	b.o.rejected.Store(&b.token)
	return false, []byte("\x01"), nil
}

// Refused implements wire.Refusable.
func (b *bearing) Refused(err error) error {
	if b.o.explain == nil {
		return err
	}
	why := b.o.explain(b.token)
	why.Error = err.Error()
	return &refusedToken{err, why}
}

// refusedToken is a broker's refusal of a token, explained by the token's source.
type refusedToken struct {
	err error
	why sink.Trouble
}

func (e *refusedToken) Error() string {
	return e.why.Reason + " (" + e.why.Error + "): " + e.why.Remedy
}
func (e *refusedToken) Unwrap() error         { return e.err }
func (e *refusedToken) Trouble() sink.Trouble { return e.why }

// Validate finds out whether a login is possible at all: the mechanism is known, and user and password have no
// characters that it forbids. The error names neither.
func (s SASL) Validate() error {
	if s.Mechanism == OAuthBearer {
		return nil
	}
	_, err := mechanism(s)
	return err
}
