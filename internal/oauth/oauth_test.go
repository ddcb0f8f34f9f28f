package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endpoint is a token endpoint that answers what it is told to.
type endpoint struct {
	*httptest.Server
	status int
	body   string // "": a token
	life   int    // s
	asked  int
	last   *http.Request
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{status: 200, life: 100}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		e.asked++
		e.last = r
		w.WriteHeader(e.status)
		if e.body != "" {
			fmt.Fprint(w, e.body)
			return
		}
		fmt.Fprintf(w, `{"access_token":"token%d","token_type":"bearer","expires_in":%d}`, e.asked, e.life)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) source(log *slog.Logger) (*Source, *time.Time) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := New(Config{URL: e.URL + "/token?tenant=t0psecret", ClientID: "fn:1", Secret: func() string { return "pass word/t0psecret" }, Scope: "a b"}, log)
	now := time.UnixMilli(1_700_000_000_000)
	s.now = func() time.Time { return now }
	return s, &now
}

// A token is kept for four fifths of its life, and then another one is asked for; one that a broker has rejected is
// replaced at once, but not more often than once a second.
func TestTokensAreRenewedBeforeTheirEnd(t *testing.T) {
	e := newEndpoint(t)
	s, now := e.source(nil)
	for _, step := range []struct {
		after    time.Duration
		rejected string
		want     string
	}{
		{0, "", "token1"}, {79 * time.Second, "", "token1"}, {time.Second, "", "token2"}, {79 * time.Second, "", "token2"},
		{0, "token1", "token2"}, {0, "token2", "token3"}, {0, "token3", "token3"}, {time.Second, "token3", "token4"}, {time.Hour, "", "token5"},
	} {
		*now = now.Add(step.after)
		if got, err := s.Token(t.Context(), step.rejected); got != step.want || err != nil {
			t.Fatalf("%+v: %q, %v", step, got, err)
		}
	}
	user, secret, _ := e.last.BasicAuth()
	if user != "fn%3A1" || secret != "pass+word%2Ft0psecret" || e.last.Form.Get("scope") != "a b" || e.last.Form.Get("grant_type") != "client_credentials" {
		t.Errorf("%s %s %v", user, secret, e.last.Form)
	}
}

// While the endpoint fails a token that is valid stays in use, with one line; after its end there is none.
func TestAFailingEndpoint(t *testing.T) {
	e := newEndpoint(t)
	var said strings.Builder
	s, now := e.source(slog.New(slog.NewTextHandler(&said, nil)))
	get := func(after time.Duration) (string, error) {
		*now = now.Add(after)
		return s.Token(t.Context(), "")
	}
	if token, err := get(0); token != "token1" || err != nil {
		t.Fatal(token, err)
	}
	e.status = 500
	for range 10 {
		if token, err := get(80 * time.Second / 10 * 11 / 10); err != nil || token != "token1" {
			t.Fatal(token, err)
		}
	}
	if _, err := get(time.Minute); err == nil {
		t.Error("a token that has ended is given out")
	}
	e.status = 200
	if token, err := get(0); err != nil || token == "token1" {
		t.Error(token, err)
	}
	if n := strings.Count(said.String(), "level=WARN"); n != 1 || !strings.Contains(said.String(), "gives out tokens again") {
		t.Errorf("log: %s", said.String())
	}
}

// Whatever the endpoint answers: a token that can be sent, or an error with the setting to look at and no secret in it.
func TestAnswersOfTheEndpoint(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		kind   string
		words  []string
	}{
		{"unknown client", 401, `{"error":"invalid_client","error_description":"t0psecret"}`, refused, []string{"401", "invalid_client", "--oauth-client-secret-file"}},
		{"wrong scope", 400, `{"error":"invalid_scope"}`, refused, []string{"--oauth-scope"}},
		{"secret as the error", 400, `{"error":"t0psecret"}`, refused, []string{"--oauth-token-url"}},
		{"not found", 404, `<html>`, refused, []string{"404", "--oauth-token-url"}},
		{"a redirect", 302, `x`, refused, []string{"302"}},
		{"a page", 200, `<html>`, unusable, []string{"RFC 6749"}},
		{"no token", 200, `{}`, unusable, []string{"empty"}},
		{"another type", 200, `{"access_token":"a","token_type":"mac"}`, unusable, []string{"bearer"}},
		{"a token that ends the message", 200, `{"access_token":"a\u0001auth=b"}`, unusable, []string{"character"}},
		{"a long token", 200, `{"access_token":"` + strings.Repeat("a", MaxToken+1) + `"}`, unusable, []string{"longer"}},
		{"a long answer", 200, `{"access_token":"a","x":"` + strings.Repeat("a", 1<<20) + `"}`, unusable, []string{"more than"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEndpoint(t)
			e.status, e.body = tt.status, tt.body
			s, _ := e.source(nil)
			_, err := s.Token(t.Context(), "")
			var known *Error
			if !errors.As(err, &known) || known.Trouble().Kind != tt.kind || strings.Contains(err.Error(), "t0psecret") {
				t.Fatalf("%v", err)
			}
			for _, word := range tt.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in %v", word, err)
				}
			}
		})
	}
	e := newEndpoint(t)
	e.body = `{"access_token":"a"}`
	s, now := e.source(nil)
	for range 3 {
		if token, err := s.Token(t.Context(), ""); token != "a" || err != nil {
			t.Error(token, err)
		}
		*now = now.Add(40 * time.Second)
	}
	if e.asked != 2 {
		t.Errorf("a token of unknown lifetime was asked for %d times in 80 s", e.asked)
	}
}

func TestAnEndpointThatDoesNotAnswer(t *testing.T) {
	silent := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-silent:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(silent)
	for _, url := range []string{srv.URL + "/?t0psecret", "http://127.0.0.1:1/t0psecret"} {
		s := New(Config{URL: url, Secret: func() string { return "" }}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := s.Token(ctx, "")
		cancel()
		var known *Error
		if !errors.As(err, &known) || known.Trouble().Kind != unreachable || strings.Contains(err.Error(), "t0psecret") {
			t.Errorf("%v", err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for url, good := range map[string]bool{
		"https://login.example/token": true, "http://127.0.0.1:80/token": true, "http://localhost/x": true, "http://[::1]:1/": true,
		"": false, "login.example": false, "ftp://a/b": false, "http://login.example/token": false, "https://u:t0psecret@a/": false, "https://": false, "http://%zz": false,
	} {
		if err := CheckURL(url); (err == nil) != good || err != nil && strings.Contains(err.Error(), "t0psecret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
