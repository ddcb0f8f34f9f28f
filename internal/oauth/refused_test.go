package oauth

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// What a token that was refused says about itself is told, with the setting of where it is from; nothing of the token
// that is a secret is.
func TestARefusedTokenIsExplained(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	jwt := func(header, payload string) string {
		b64 := base64.RawURLEncoding.EncodeToString
		return b64([]byte(header)) + "." + b64([]byte(payload)) + ".c2lnbmF0dXJlLXQwcHNlY3JldA"
	}
	const signed = `{"alg":"RS256","kid":"one"}`
	for _, tt := range []struct {
		name, token, kind string
		reason            []string
		remedy            string // with a file
	}{
		{"ended", jwt(signed, `{"exp":1799999999,"aud":"kafka"}`), "token_ended", []string{"ended at 2027-01-15T07:59:59Z"}, "put a new token into --oauth-token-file"},
		{"ended long ago", jwt(signed, `{"exp":-1e300}`), "token_ended", []string{"ended at 1970-01-01T00:00:00Z"}, "put a new token"},
		{"not valid yet", jwt(signed, `{"exp":1800003600,"nbf":1800001800.5}`), "bad_login", []string{"not valid before 2027-01-15T08:30:00Z"}, "clocks"},
		{"another audience", jwt(signed, `{"exp":1800003600,"iss":"login.example","aud":["web","billing"],"scope":"read"}`), "bad_login",
			[]string{`issuer "login.example"`, `audience "web, billing"`, `scope "read"`, `key "one"`, `"RS256"`}, "audience"},
		{"one audience in a list", jwt(signed, `{"aud":["web"]}`), "bad_login", []string{`issuer none`, `audience "web"`}, "signature"},
		{"says nothing", jwt(`{}`, `{"exp":1e300}`), "bad_login", []string{"audience none", "key none"}, "--oauth-token-file"},
		{"odd claims", jwt(signed, `{"iss":{"a":[1]},"aud":[1,null],"scope":true,"exp":null}`), "bad_login", []string{`issuer "map[a:[1]]"`}, "--oauth-token-file"},
		{"long and risky", jwt(signed, `{"aud":"`+strings.Repeat("ä", 5000)+`","iss":"a\nlevel=ERROR \u001b[31m"}`), "bad_login", []string{`issuer "a\u{a}level`, "ä..."}, "--oauth-token-file"},
		{"not JSON", jwt(`x`, `y`), "bad_login", []string{"no JWT"}, "--oauth-token-file"},
		{"an end that is no number", jwt(signed, `{"exp":"tomorrow"}`), "bad_login", []string{"no JWT"}, "--oauth-token-file"},
		{"opaque", "t0psecret", "bad_login", []string{"no JWT"}, "--oauth-token-file"},
		{"two dots and nothing", "..", "bad_login", []string{"no JWT"}, "--oauth-token-file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			of := refusedToken(tt.token, now, &ofFile)
			if of.Kind != tt.kind || !strings.Contains(of.Remedy, tt.remedy) || !strings.Contains(of.Remedy, "--oauth-token-file") {
				t.Errorf("%+v, want %s, %q", of, tt.kind, tt.remedy)
			}
			for _, word := range tt.reason {
				if !strings.Contains(of.Reason, word) {
					t.Errorf("%q is not in %q", word, of.Reason)
				}
			}
			if len(of.Reason) > 1000 || strings.ContainsAny(of.Reason, "\n\x1b") || strings.Contains(of.Reason, "t0psecret") || !utf8.ValidString(of.Reason) {
				t.Errorf("reason: %q", of.Reason)
			}
			if by := refusedToken(tt.token, now, &ofEndpoint); by.Kind != of.Kind || by.Reason != of.Reason ||
				!strings.Contains(by.Remedy, "--oauth-token-url") || strings.Contains(by.Remedy, "--oauth-token-file") {
				t.Errorf("of the endpoint: %+v", by)
			}
		})
	}
}
