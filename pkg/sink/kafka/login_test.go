package kafka

import (
	"context"
	"errors"
	"testing"
)

// A login with a token: what is sent, and that a token which the broker does not take is named when the next one is
// asked for (RFC 7628, section 3).
func TestLoginWithAToken(t *testing.T) {
	var rejected []string
	next := "one"
	m, err := newLogin(SASL{Mechanism: OAuthBearer}, nil, func(_ context.Context, r string) (string, error) {
		rejected = append(rejected, r)
		if next == "" {
			return "", errors.New("none")
		}
		return next, nil
	})
	if err != nil || m.Name() != "OAUTHBEARER" {
		t.Fatal(m, err)
	}
	begin := func(want string) (finish func(challenge string) (bool, string)) {
		t.Helper()
		s, first, err := m.Start(t.Context())
		if err != nil || string(first) != want {
			t.Fatalf("%q, %v", first, err)
		}
		return func(challenge string) (bool, string) {
			done, answer, err := s.Next(t.Context(), []byte(challenge))
			if err != nil {
				t.Error(err)
			}
			return done, string(answer)
		}
	}
	if done, _ := begin("n,,\x01auth=Bearer one\x01\x01")(""); !done {
		t.Error("the login does not end when the broker takes the token")
	}
	if done, answer := begin("n,,\x01auth=Bearer one\x01\x01")(`{"status":"invalid_token"}`); done || answer != "\x01" {
		t.Errorf("%v, %q", done, answer)
	}
	next = "two"
	begin("n,,\x01auth=Bearer two\x01\x01")
	next = ""
	if _, _, err := m.Start(t.Context()); err == nil {
		t.Error("a login without a token begins")
	}
	if len(rejected) != 4 || rejected[0] != "" || rejected[1] != "" || rejected[2] != "one" || rejected[3] != "one" {
		t.Errorf("%q", rejected)
	}
}
