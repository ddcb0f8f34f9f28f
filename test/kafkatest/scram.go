package kafkatest

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const scramIterations = 4096 // the least that brokers take

// scram is a mechanism of RFC 5802.
type scram struct {
	name   string
	number int8 // the protocol's
	hash   func() hash.Hash
	size   int
}

var (
	scramSHA256 = scram{"SCRAM-SHA-256", 1, sha256.New, sha256.Size}
	scramSHA512 = scram{"SCRAM-SHA-512", 2, sha512.New, sha512.Size}
)

// SetPassword makes a user of the listeners that ask for a login, or gives it another password.
// Connections that are logged in stay so.
func (c *Cluster) SetPassword(user, password string) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return with(c.direct(), func(cl *kgo.Client) error {
		for _, m := range []scram{scramSHA256, scramSHA512} { // one request each: a user may stand in it once
			if err := m.setPassword(ctx, cl, user, password); err != nil {
				return fmt.Errorf("password of %q: %w", user, err)
			}
		}
		return nil
	})
}

func (m *scram) setPassword(ctx context.Context, cl *kgo.Client, user, password string) error {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(m.hash, password, salt, scramIterations, m.size)
	if err != nil {
		return err
	}
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations = user, m.number, scramIterations
	u.Salt, u.SaltedPassword = salt, salted
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Upsertions = append(req.Upsertions, u)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Results[0].ErrorCode)
}
