package oauth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/pkg/sink"
)

const (
	ended    = "token_ended"
	badLogin = "bad_login" // the word of the sink for every other refusal of a login
)

// remedies are what helps against a token that was refused, by where it is from.
type remedies struct{ ended, early, other string }

var (
	ofEndpoint = remedies{
		ended: "compare the clocks of this machine and of the endpoint of --oauth-token-url, which gives out tokens that have ended",
		early: "compare the clocks of the brokers and of the endpoint of --oauth-token-url",
		other: "correct --oauth-client-id, --oauth-scope or --oauth-token-url: the broker looks at issuer, audience, scope and signature, and its log may say which of them is wrong",
	}
	ofFile = remedies{
		ended: "put a new token into --oauth-token-file; no restart is needed",
		early: "put a token into --oauth-token-file that is valid now, or correct the clocks of this machine and of the brokers",
		other: "put another token into --oauth-token-file: the broker looks at issuer, audience, scope and signature, and its log may say which of them is wrong",
	}
)

// Refused explains why a broker may have refused a token of the endpoint. Brokers of Apache Kafka do not tell, so the
// explanation comes from what the token says about itself (RFC 7519): its end, issuer, audience, scope and key.
func (s *Source) Refused(token string) sink.Trouble { return refusedToken(token, s.now(), &ofEndpoint) }

// RefusedOfFile is [Source.Refused] for a token of --oauth-token-file.
func RefusedOfFile(token string) sink.Trouble { return refusedToken(token, wallClock(), &ofFile) }

func refusedToken(token string, now time.Time, r *remedies) sink.Trouble {
	c, ok := readClaims(token)
	switch {
	case !ok:
		return sink.Trouble{Kind: badLogin, Reason: "the broker refuses the token, which is no JWT that can be read", Remedy: r.other}
	case c.Ends != nil && instant(*c.Ends).Before(now):
		return sink.Trouble{Kind: ended, Reason: "the broker refuses the token, which ended at " + instant(*c.Ends).Format(time.RFC3339), Remedy: r.ended}
	case c.Begins != nil && instant(*c.Begins).After(now):
		return sink.Trouble{Kind: badLogin, Reason: "the broker refuses the token, which is not valid before " + instant(*c.Begins).Format(time.RFC3339), Remedy: r.early}
	}
	return sink.Trouble{Kind: badLogin, Remedy: r.other, Reason: fmt.Sprintf("the broker refuses the token, which has issuer %s, audience %s, scope %s and is signed with key %s by %s",
		quoted(c.Issuer), quoted(c.Audience), quoted(c.Scope), quoted(c.Key), quoted(c.Algorithm))}
}

// claims are what a token says about itself. None of it is a secret, and none of it was checked.
type claims struct {
	Issuer    any      `json:"iss"`
	Audience  any      `json:"aud"` // a string, or several
	Scope     any      `json:"scope"`
	Ends      *float64 `json:"exp"` // s since 1970
	Begins    *float64 `json:"nbf"`
	Key       any      `json:"-"` // "kid" of the header
	Algorithm any      `json:"-"`
}

// readClaims reports whether a token is a JWT, and what it says. The caller has bounded its length.
func readClaims(token string) (c claims, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	var header struct{ Kid, Alg any }
	if !decode(parts[0], &header) || !decode(parts[1], &c) {
		return c, false
	}
	c.Key, c.Algorithm = header.Kid, header.Alg
	return c, true
}

func decode(part string, to any) bool {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	return err == nil && json.Unmarshal(text, to) == nil
}

// instant is a NumericDate, held within years that can be printed.
func instant(seconds float64) time.Time {
	const year9999 = 253_402_300_799
	return time.Unix(int64(max(0, min(seconds, year9999))), 0).UTC()
}

// quoted is a claim for a message.
func quoted(claim any) string {
	if list, ok := claim.([]any); ok && len(list) == 1 {
		claim = list[0]
	}
	var text string
	switch v := claim.(type) {
	case nil:
		return "none"
	case string:
		text = v
	case []any:
		var names []string
		for _, name := range v[:min(len(v), 10)] {
			names = append(names, fmt.Sprint(name))
		}
		text = strings.Join(names, ", ")
	default:
		text = fmt.Sprint(v)
	}
	const longest = 100
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return `"` + printable.Text(text) + `"`
}
