// Package oauth gets access tokens for SASL OAUTHBEARER from a token endpoint, by the client credentials grant of
// OAuth 2.0 (RFC 6749, section 4.4).
//
// A token is asked for when a connection needs one, and kept for four fifths of its lifetime: brokers end a session
// with its token, and the next one then begins with a fresh token. While the endpoint fails, a token that is still
// valid stays in use. No error repeats the secret, a token, or the query of the endpoint's address.
package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/pkg/sink"
)

const (
	// MaxToken is the longest token that is taken, in bytes.
	MaxToken  = 32 << 10
	maxAnswer = 2 * MaxToken
	// unknownLifetime is that of a token whose answer does not say it.
	unknownLifetime = time.Minute
	maxLifetime     = 24 * time.Hour
	// againAfter is the pause between two questions while a token is still valid.
	againAfter = time.Second
)

// Config describes a client of a token endpoint.
type Config struct {
	URL      string // of the token endpoint; https, or http to this machine
	ClientID string
	Secret   func() string // asked for each token: it may have been renewed
	Scope    string        // "": the endpoint's default
}

// Source keeps a token. Its methods are safe for concurrent use.
type Source struct {
	cfg    Config
	log    *slog.Logger
	client *http.Client
	now    func() time.Time

	turn     chan struct{} // held by the one that looks at what follows
	token    string
	fresh    time.Time // until then no other is asked for
	valid    time.Time // the end of its life
	again    time.Time // not before is the endpoint asked, while the token is valid
	troubled bool      // the last question failed, which was logged
}

// New returns a source that has asked for nothing yet.
func New(cfg Config, log *slog.Logger) *Source {
	return &Source{
		cfg: cfg, log: log, now: wallClock, turn: make(chan struct{}, 1),
		client: &http.Client{
			// A redirect would carry the secret to wherever the endpoint says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		},
	}
}

// wallClock has no monotonic part: that one stands still while an instance is frozen, and the token's life does not.
func wallClock() time.Time { return time.Now().Round(0) }

// Token returns a token that is valid now, and is not the one that a broker has rejected if the endpoint gives another.
// ctx bounds the wait for the endpoint.
func (s *Source) Token(ctx context.Context, rejected string) (string, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	now := s.now()
	fresh := now.Before(s.fresh) && s.token != rejected
	if fresh || now.Before(s.valid) && now.Before(s.again) {
		return s.token, nil
	}
	token, lifetime, err := s.ask(ctx)
	if err == nil {
		s.token, s.valid, s.fresh = token, now.Add(lifetime), now.Add(lifetime*4/5)
		s.again = now.Add(againAfter)
		if s.troubled {
			s.troubled = false
			s.log.Info("the token endpoint gives out tokens again")
		}
		return token, nil
	}
	if !now.Before(s.valid) {
		return "", err
	}
	s.again = now.Add(againAfter)
	if !s.troubled {
		s.troubled = true
		s.log.Warn("no new token; the old one is used until its end", "for", s.valid.Sub(now).Round(time.Second), "error", err)
	}
	return s.token, nil
}

// Error is a failure of the token endpoint.
type Error struct {
	kind, reason, remedy string
	detail               string // of whoever failed, printable
}

// The words of failures, for alarms.
const (
	unreachable = "token_endpoint_unreachable"
	refused     = "token_refused"
	unusable    = "token_endpoint_unusable"
)

func (e *Error) Error() string { return e.reason + " (" + e.detail + "): " + e.remedy }

// Trouble says what is wrong and which setting helps.
func (e *Error) Trouble() sink.Trouble {
	return sink.Trouble{Kind: e.kind, Reason: e.reason, Remedy: e.remedy, Error: e.detail}
}

// ask asks the endpoint for a token.
func (s *Source) ask(ctx context.Context) (token string, lifetime time.Duration, err error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if s.cfg.Scope != "" {
		form.Set("scope", s.cfg.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, s.failed(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(s.cfg.ClientID), url.QueryEscape(s.cfg.Secret())) // RFC 6749, section 2.3.1
	res, err := s.client.Do(req)
	if err != nil {
		return "", 0, s.failed(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return "", 0, s.failed(err)
	}
	return s.answer(res, text)
}

// failed says that no answer came.
func (s *Source) failed(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // its text has the whole address
	}
	return &Error{unreachable, "the token endpoint does not answer", "correct --oauth-token-url, or look at the endpoint", printable.Text(err.Error())}
}

// answer takes the endpoint's answer apart (RFC 6749, section 5).
func (s *Source) answer(res *http.Response, text []byte) (token string, lifetime time.Duration, err error) {
	var a struct {
		Token    string  `json:"access_token"`
		Type     string  `json:"token_type"`
		Lifetime float64 `json:"expires_in"` // s
		Error    string  `json:"error"`
	}
	parsed := json.Unmarshal(text, &a)
	if res.StatusCode != http.StatusOK {
		return "", 0, refusal(res.Status, a.Error)
	}
	bad := func(detail string) error {
		return &Error{unusable, "the token endpoint gives no token that can be used", "correct --oauth-token-url, or look at the endpoint", detail}
	}
	switch {
	case len(text) > maxAnswer:
		return "", 0, bad(fmt.Sprintf("its answer has more than %d bytes", maxAnswer))
	case parsed != nil:
		return "", 0, bad("its answer is not the JSON of RFC 6749")
	case a.Type != "" && !strings.EqualFold(a.Type, "bearer"):
		return "", 0, bad("the token's type is not bearer")
	}
	if err := Check(a.Token); err != nil {
		return "", 0, bad(err.Error())
	}
	lifetime = unknownLifetime
	if a.Lifetime > 0 {
		lifetime = time.Duration(min(a.Lifetime, maxLifetime.Seconds()) * float64(time.Second))
	}
	return a.Token, lifetime, nil
}

// refusal names the setting that the endpoint's error is about.
func refusal(status, code string) error {
	const reason = "the token endpoint refuses to give a token"
	remedy := "correct --oauth-token-url, --oauth-client-id and --oauth-client-secret-file"
	switch code {
	case "invalid_client", "unauthorized_client":
		remedy = "correct --oauth-client-id and --oauth-client-secret-file, or let the client use the client credentials grant"
	case "invalid_scope":
		remedy = "correct --oauth-scope"
	case "":
	default:
		if strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
			code = "an error that is none of RFC 6749"
		}
	}
	detail := printable.Text(status[:min(len(status), 100)])
	if code != "" {
		detail += ", " + code
	}
	return &Error{refused, reason, remedy, detail}
}

// Check reports what keeps a text from being a token (RFC 6750, section 2.1). The error does not repeat it.
func Check(token string) error {
	switch {
	case token == "":
		return errors.New("it is empty")
	case len(token) > MaxToken:
		return fmt.Errorf("it is longer than %d bytes", MaxToken)
	}
	for _, c := range []byte(token) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("-._~+/=", rune(c)) {
			return errors.New("it has a character that no token has")
		}
	}
	return nil
}

// CheckURL reports what keeps an address from being that of a token endpoint. The error does not repeat it.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must be an address such as https://login.example/oauth2/token")
	case u.User != nil:
		return errors.New("must have no user and password: they go into --oauth-client-id and --oauth-client-secret-file")
	case u.Scheme == "http" && !local(u.Hostname()):
		return errors.New("must begin with https://, except to an address of this machine: the secret goes there")
	}
	return nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
