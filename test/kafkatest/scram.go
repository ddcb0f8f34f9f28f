package kafkatest

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	saslMechanism   = "SCRAM-SHA-256"
	scramSHA256     = 1    // the protocol's number of the mechanism
	scramIterations = 4096 // the least that brokers take
)

// SetPassword makes a user of the listeners that ask for a login, or gives it another password.
// Connections that are logged in stay so.
func (c *Cluster) SetPassword(user, password string) error {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return err
	}
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations = user, scramSHA256, scramIterations
	u.Salt, u.SaltedPassword = salt, salted
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Upsertions = append(req.Upsertions, u)

	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return with(c.direct(), func(cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return fmt.Errorf("password of %q: %w", user, err)
		}
		if err := kerr.ErrorForCode(resp.Results[0].ErrorCode); err != nil {
			return fmt.Errorf("password of %q: %w", user, err)
		}
		return nil
	})
}
