package test

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/oracle"
	"functiongraph-ingest/test/proc"
)

// issuer is a token endpoint with an RSA key, whose public part a broker knows.
type issuer struct {
	key *rsa.PrivateKey

	mu       sync.Mutex
	secret   string
	down     bool
	lifetime time.Duration
	issued   int
	tokens   []string
}

// jwt is what is in a token. The zero value is one that a broker takes, for an hour.
type jwt struct {
	audience string
	lifetime time.Duration
	key      *rsa.PrivateKey
}

func newIssuer(t *testing.T) (i *issuer, jwks string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	set := map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig",
		"n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes()),
	}}}
	text, err := json.Marshal(set)
	must(t, err)
	jwks = filepath.Join(t.TempDir(), "jwks.json")
	must(t, os.WriteFile(jwks, text, 0o644))
	return &issuer{key: key, secret: "first-secret", lifetime: 5 * time.Second}, jwks
}

// sign makes a token. The caller must hold i.mu.
func (i *issuer) sign(j jwt) string {
	now := time.Now()
	part := func(v map[string]any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	i.issued++
	signed := part(map[string]any{"alg": "RS256", "kid": "one", "typ": "JWT"}) + "." + part(map[string]any{
		"sub": "fn", "aud": cmp.Or(j.audience, "kafka"), "jti": fmt.Sprint(i.issued),
		"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(cmp.Or(j.lifetime, time.Hour)).Unix(),
	})
	sum := sha256.Sum256([]byte(signed))
	signature, _ := rsa.SignPKCS1v15(rand.Reader, cmp.Or(j.key, i.key), crypto.SHA256, sum[:])
	token := signed + "." + base64.RawURLEncoding.EncodeToString(signature)
	i.tokens = append(i.tokens, token)
	return token
}

func (i *issuer) set(f func()) { i.mu.Lock(); defer i.mu.Unlock(); f() }

// secrets are what no log may have.
func (i *issuer) secrets() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append(slices.Clone(i.tokens), "first-secret", "second-secret")
}

func (i *issuer) count() int { i.mu.Lock(); defer i.mu.Unlock(); return i.issued }

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	user, secret, ok := r.BasicAuth()
	switch {
	case i.down:
		http.Error(w, "down", http.StatusBadGateway)
	case r.Method != http.MethodPost || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "events write":
		http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
	case !ok || user != "fn" || secret != i.secret:
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
	default:
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, i.sign(jwt{lifetime: i.lifetime}), int(i.lifetime.Seconds()))
	}
}

// A broker that takes tokens only, and ends each session with its token or after a few seconds. Nothing is lost, nothing
// doubled, nothing is restarted, and no secret and no token is in the log.
func TestTokensAreRenewedUnderLoad(t *testing.T) {
	t.Parallel()
	i, jwks := newIssuer(t)
	k := kafkatest.Start(t, kafkatest.WithTokens(jwks, *rotationLogin))
	t.Run("endpoint", func(t *testing.T) { tokensOfAnEndpoint(t, i, k) })
	t.Run("file", func(t *testing.T) { tokensOfAFile(t, i, k) })
}

// replace writes a file as tools do that renew secrets: all at once.
func replace(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path+".new", []byte(text), 0o600))
	must(t, os.Rename(path+".new", path))
}

// Tokens are renewed before their end while events flow; the endpoint fails for longer than a token lives; the client's
// secret is renewed.
func tokensOfAnEndpoint(t *testing.T, i *issuer, k *kafkatest.Cluster) {
	endpoint := httptest.NewServer(i)
	defer endpoint.Close()
	secretFile := filepath.Join(t.TempDir(), "secret")
	replace(t, secretFile, "first-secret\n")
	oauth := []string{"--sasl-mechanism=OAUTHBEARER", "--oauth-token-url=" + endpoint.URL + "/token", "--oauth-client-id=fn",
		"--oauth-client-secret-file=" + secretFile, "--oauth-scope=events write"}

	k.Topic(t, "tokens", 3, nil)
	p := proc.Start(t, proc.Serve(proc.Build(t), k.SASL(), "tokens", oauth...))
	f := newFlow(t, k, p, "tokens")
	f.await("renewed tokens", func() bool { return i.count() > 3 })
	f.goesOn()

	i.set(func() { i.down = true })
	f.await("trouble", func() bool {
		return lines(p, "level=WARN", "events do not reach Kafka", "token endpoint refuses", "502", "remedy=", "--oauth-token-url") > 0
	})
	code, _, stderr := checked(t, append([]string{"--brokers=" + k.SASL(), "--topic=tokens", "--request-timeout=2s"}, oauth...)...)
	if code != 1 || !strings.Contains(stderr, "--oauth-token-url") {
		t.Errorf("check: %d\n%s", code, stderr)
	}
	i.set(func() { i.down = false })
	f.await("the end of it", func() bool { return lines(p, "level=INFO", "events reach Kafka again", "after=") > 0 })

	i.set(func() { i.secret = "second-secret" })
	f.await("a refused secret", func() bool {
		return lines(p, "level=WARN", "invalid_client", "--oauth-client-secret-file") > 0
	})
	replace(t, secretFile, "second-secret\n")
	f.await("the new secret", func() bool { return lines(p, "read again", "--oauth-client-secret-file") > 0 })
	f.end(i.secrets()...)
	if n := lines(p, "read again", "--oauth-client-secret-file"); n != 1 {
		t.Errorf("%d lines about one new secret", n)
	}
}

// The file of the token is replaced under load, by tokens that the broker refuses as well: the log, /readyz and check
// name what is wrong with each, and the file. Each replacement is one line.
func tokensOfAFile(t *testing.T, i *issuer, k *kafkatest.Cluster) {
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	file := filepath.Join(t.TempDir(), "token")
	written := 0
	write := func(j jwt) {
		t.Helper()
		i.set(func() { replace(t, file, i.sign(j)+"\n") })
		written++
	}
	write(jwt{})
	k.Topic(t, "token-file", 3, nil)
	login := []string{"--sasl-mechanism=OAUTHBEARER", "--oauth-token-file=" + file}
	p := proc.Start(t, proc.Serve(proc.Build(t), k.SASL(), "token-file", append(login, "--ack=accept")...))
	f := newFlow(t, k, p, "token-file")
	f.goesOn()
	write(jwt{})
	f.await("the new token", func() bool { return lines(p, "read again", "--oauth-token-file") == 1 })
	f.goesOn()

	for _, bad := range []struct {
		name string
		jwt
		words []string
	}{
		{"a wrong audience", jwt{audience: "billing"}, []string{"refuses the token", `audience "billing"`, "put another token into --oauth-token-file"}},
		{"an ended one", jwt{lifetime: -time.Minute}, []string{"refuses the token, which ended at ", "put a new token into --oauth-token-file"}},
		{"a wrong signature", jwt{key: stranger}, []string{"refuses the token", `signed with key "one" by "RS256"`, "and signature", "put another token into --oauth-token-file"}},
	} {
		write(bad.jwt)
		f.await(bad.name, func() bool {
			_, text, err := p.Get("/readyz")
			said := string(text)
			return err == nil && !slices.ContainsFunc(bad.words, func(word string) bool { return !strings.Contains(said, word) })
		})
		code, stdout, stderr := checked(t, append([]string{"--brokers=" + k.SASL(), "--topic=token-file", "--request-timeout=5s"}, login...)...)
		for _, word := range bad.words {
			if code != 1 || !strings.Contains(stdout+stderr, word) {
				t.Errorf("%s: check says, with %d and without %q:\n%s%s", bad.name, code, word, stdout, stderr)
			}
		}
	}
	write(jwt{})
	f.await("the end of it", func() bool { return lines(p, "level=INFO", "events reach Kafka again", "after=") == 1 })
	f.end(i.secrets()...)
	if n := lines(p, "read again", "--oauth-token-file"); n != written-1 {
		t.Errorf("%d lines about %d new tokens", n, written-1)
	}
	for _, words := range [][]string{{"audience"}, {"which ended at"}} {
		if n := lines(p, append(words, "level=WARN", "events do not reach Kafka")...); n == 0 {
			t.Errorf("no warning has %q\n%s", words, p.Stderr())
		}
	}
}

// flow is a load under way.
type flow struct {
	t     *testing.T
	k     *kafkatest.Cluster
	p     *proc.Process
	topic string
	judge *oracle.Oracle
	run   *load.Run
}

func newFlow(t *testing.T, k *kafkatest.Cluster, p *proc.Process, topic string) *flow {
	t.Helper()
	f := &flow{t: t, k: k, p: p, topic: topic, judge: oracle.New(8)}
	var err error
	f.run, err = load.Start(t.Context(), load.Options{Addr: p.Listen, Conns: 8, MaxRate: *rotationRate, RetryAfter: true, Recorder: f.judge,
		Profile: load.Profile{Events: 20, Marked: true}})
	must(t, err)
	return f
}

func (f *flow) await(what string, cond func() bool) {
	f.t.Helper()
	f.p.WaitLedger(f.t, rotationPatience, what, func(*proc.Ledger) bool { return cond() })
}

// goesOn waits for more events to be delivered.
func (f *flow) goesOn() {
	f.t.Helper()
	start := f.p.MustLedger(f.t).Delivered
	f.p.WaitLedger(f.t, rotationPatience, "more events", func(l *proc.Ledger) bool { return l.Delivered > start+1000 })
}

// end ends it and judges it: nothing is lost, nothing comes twice, and no secret is told.
func (f *flow) end(secrets ...string) *proc.Ledger {
	f.t.Helper()
	f.goesOn()
	f.run.Stop()
	code, l := f.p.MustStop(f.t)
	if code != 0 || len(l.Dropped) != 0 {
		f.t.Errorf("exit %d, ledger %+v", code, l)
	}
	r := f.judge.MustRead(f.t, f.k.Bootstrap(), f.topic)
	f.t.Logf("acknowledged %d, delivered %d, %d secrets; %d resends recognised, %d possible duplicates",
		r.Acked, r.Delivered, len(secrets), l.DuplicatesSuppressed, l.PossibleDuplicates)
	if r.Lost != 0 || r.Doubled != 0 || r.Acked == 0 {
		f.t.Errorf("%v", r)
	}
	for _, secret := range secrets {
		if said := f.p.Stderr() + f.p.Stdout(); strings.Contains(said, secret) {
			f.t.Errorf("the log has %s", secret)
		}
	}
	return l
}
