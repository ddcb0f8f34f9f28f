package config

import (
	"strings"

	"functiongraph-ingest/internal/oauth"
)

func (c *Config) checkSASL(p *Problems) {
	if c.SASLMechanism == Off {
		if c.SASLUser != "" || c.SASLPassword != "" {
			p.add("sasl-mechanism", Off, "--sasl-user and --sasl-password need PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		return
	}
	if c.SASLMechanism == OAuthBearer {
		if c.SASLUser != "" || c.SASLPassword != "" {
			p.add("sasl-mechanism", OAuthBearer, "takes no --sasl, --sasl-user and --sasl-password: see --oauth-token-url and --oauth-token-file")
		}
		return
	}
	if strings.Contains(c.SASLUser, ":") && c.SASLPassword == "" && c.SASLPasswordFile == "" {
		p.add("sasl-user", c.SASLUser, "holds a colon, and there is no password: user and password together go into --sasl")
		return
	}
	if c.SASLUser == "" {
		p.add("sasl-user", "", "required with --sasl-mechanism="+shownAs("sasl-mechanism", c.SASLMechanism))
	}
	if c.SASLPassword == "" && c.SASLPasswordFile == "" { // a bad file was reported already
		p.add("sasl-password", "", "required with --sasl-mechanism="+shownAs("sasl-mechanism", c.SASLMechanism)+"; better in a file, --sasl-password-file")
	}
}

// OAuthBearer is the --sasl-mechanism whose login is a token.
const OAuthBearer = "OAUTHBEARER"

func (c *Config) checkOAuth(p *Problems) {
	given := []struct{ name, value string }{
		{"oauth-token-url", c.OAuthURL}, {"oauth-client-id", c.OAuthClientID}, {"oauth-client-secret-file", c.OAuthSecretFile}, {"oauth-scope", c.OAuthScope},
	}
	switch {
	case c.SASLMechanism != OAuthBearer:
		given = append(given, struct{ name, value string }{"oauth-token-file", c.OAuthTokenFile})
		for _, s := range given {
			if s.value != "" {
				p.add(s.name, s.value, "needs --sasl-mechanism="+OAuthBearer)
			}
		}
	case c.OAuthTokenFile != "":
		for _, s := range given {
			if s.value != "" {
				p.add(s.name, s.value, "give either it or --oauth-token-file, not both")
			}
		}
		if _, err := c.ReadToken(); err != nil {
			p.add("oauth-token-file", c.OAuthTokenFile, "must be a file that holds a token: "+err.Error())
		}
	case c.OAuthURL == "":
		p.add("oauth-token-url", "", "it or --oauth-token-file is required with --sasl-mechanism="+OAuthBearer)
	default:
		c.checkTokenEndpoint(p)
	}
}

func (c *Config) checkTokenEndpoint(p *Problems) {
	if err := oauth.CheckURL(c.OAuthURL); err != nil {
		p.add("oauth-token-url", c.OAuthURL, err.Error())
	}
	if c.OAuthClientID == "" {
		p.add("oauth-client-id", "", "required with --oauth-token-url")
	}
	if c.OAuthSecretFile == "" {
		p.add("oauth-client-secret-file", "", "required with --oauth-token-url")
	} else if _, err := c.ReadClientSecret(); err != nil {
		p.add("oauth-client-secret-file", c.OAuthSecretFile, "must be a file that holds the secret: "+err.Error())
	}
	for _, s := range []struct{ name, value string }{{"oauth-client-id", c.OAuthClientID}, {"oauth-scope", c.OAuthScope}} {
		if !isPlain(s.value) {
			p.add(s.name, s.value, "must have at most 255 bytes and no control characters")
		}
	}
}
