package config

import (
	"reflect"

	"functiongraph-ingest/internal/oauth"
)

// applied are the settings that a running process takes over when it reads its settings again.
func applied() []string { return []string{"log-level"} }

// ReadPassword reads --sasl-password-file again.
func (c *Config) ReadPassword() (Secret, error) { return readSecret(c.SASLPasswordFile) }

// ReadClientSecret reads --oauth-client-secret-file again.
func (c *Config) ReadClientSecret() (Secret, error) { return readSecret(c.OAuthSecretFile) }

// ReadToken reads --oauth-token-file again. An error does not repeat what is in it.
func (c *Config) ReadToken() (Secret, error) {
	token, err := readSecret(c.OAuthTokenFile)
	if err == nil {
		err = oauth.Check(token.Reveal())
	}
	return token, err
}

// NeedRestart names the settings that differ in next and that a running process cannot take over. The content of
// files that settings name is not compared.
func (c *Config) NeedRestart(next *Config) []string {
	skip := map[string]bool{}
	for _, name := range applied() {
		skip[name] = true
	}
	if c.SASLPasswordFile != "" && c.SASLPasswordFile == next.SASLPasswordFile {
		skip["sasl-password"] = true // it came from the file
	}
	var names []string
	others := next.fields()
	for i, f := range c.fields() {
		if !skip[f.name] && !reflect.DeepEqual(f.value.Interface(), others[i].value.Interface()) {
			names = append(names, "--"+f.name)
		}
	}
	return names
}
