package kafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	kafkago "github.com/segmentio/kafka-go"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/internal/wire"
)

// A login with a token: what is sent, and that a token which the broker does not take is named when the next one is
// asked for (RFC 7628, section 3).
func TestLoginWithAToken(t *testing.T) {
	var rejected []string
	next := "one"
	m, err := newLogin(SASL{Mechanism: OAuthBearer}, &Deps{Token: func(_ context.Context, r string) (string, error) {
		rejected = append(rejected, r)
		if next == "" {
			return "", errors.New("none")
		}
		return next, nil
	}})
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

// A broker that refuses a token says little. What the token's source knows is told in its place, in the log and by check,
// and stays a refused login.
func TestARefusedTokenIsExplained(t *testing.T) {
	deps := Deps{
		Token: func(context.Context, string) (string, error) { return "one", nil },
		TokenRefused: func(token string) sink.Trouble {
			return sink.Trouble{Kind: "token_ended", Reason: token + " has ended", Remedy: "put another"}
		},
	}
	cfg := Config{SASL: SASL{Mechanism: OAuthBearer}}
	m, err := newLogin(cfg.SASL, &deps)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refused := s.(wire.Refusable).Refused(fmt.Errorf("%w: invalid_token", kafkago.SASLAuthenticationFailed))
	if !errors.Is(refused, kafkago.SASLAuthenticationFailed) || classOfError(refused) != classConfig {
		t.Errorf("%v is a %v", refused, classOfError(refused))
	}
	g := givenBy(&cfg, &deps)
	for _, found := range []trouble{g.lookTrouble(refused), g.sendTrouble(refused, 1)} {
		if found.word() != "token_ended" || found.reason() != "one has ended" || found.remedy() != "put another" || !strings.Contains(found.detail, "invalid_token") {
			t.Errorf("%+v", found)
		}
	}
	if text, remedy := Explain(refused, &cfg, &deps); !strings.Contains(text, "one has ended") || !strings.Contains(text, "invalid_token") || remedy != "put another" {
		t.Errorf("%q, %q", text, remedy)
	}
	deps.TokenRefused = nil
	if m, err = newLogin(cfg.SASL, &deps); err != nil {
		t.Fatal(err)
	}
	if s, _, err = m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused = s.(wire.Refusable).Refused(kafkago.SASLAuthenticationFailed)
	if found := g.lookTrouble(refused); found.kind != badLogin || !strings.Contains(found.remedy(), "--oauth-token-file") {
		t.Errorf("%+v", found)
	}
}

// A broker that names another salt at each login, and refuses it, takes no memory by that.
func TestLoginsKeepNothingOfTheBroker(t *testing.T) {
	const logins, salt = 100, 30 << 10
	for _, deps := range []Deps{{}, {Credentials: func() (user, password string) { return "u", "p" }}} {
		m, err := newLogin(SASL{"SCRAM-SHA-256", "u", "p"}, &deps)
		if err != nil {
			t.Fatal(err)
		}
		login := func() {
			s, first, err := m.Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, salt)
			_, _ = rand.Read(b)
			_, nonce, _ := strings.Cut(string(first), ",r=")
			if _, _, err := s.Next(t.Context(), fmt.Appendf(nil, "r=%sx,s=%s,i=4096", nonce, base64.StdEncoding.EncodeToString(b))); err != nil {
				t.Fatal(err)
			}
		}
		live := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		login()
		before := live()
		for range logins {
			login()
		}
		if after := live(); after > before+logins*salt/2 {
			t.Errorf("%d bytes are live after %d logins, %d before", after, logins, before)
		}
		runtime.KeepAlive(m)
	}
}
