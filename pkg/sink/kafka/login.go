package kafka

import (
	"context"

	"github.com/segmentio/kafka-go/sasl"
)

// login is a SASL mechanism whose user and password are asked for at each login.
type login struct {
	mechanism   string
	credentials func() (user, password string)
}

// newLogin returns nil without a login. credentials nil: always those of s.
func newLogin(s SASL, credentials func() (user, password string)) (sasl.Mechanism, error) {
	m, err := mechanism(s)
	if err != nil || m == nil || credentials == nil {
		return m, err
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

// Validate finds out whether a login is possible at all: the mechanism is known, and user and password have no
// characters that it forbids. The error names neither.
func (s SASL) Validate() error {
	_, err := mechanism(s)
	return err
}
