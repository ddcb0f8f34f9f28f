package main

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/oauth"
	"functiongraph-ingest/internal/reload"
	"functiongraph-ingest/internal/tlsconf"
	"functiongraph-ingest/pkg/sink/kafka"
)

// credentials are what connections to brokers are made with. Their files are looked at for each new connection.
type credentials struct {
	files    *reload.Files
	tls      *tlsconf.Client // nil: plaintext
	user     string
	password atomic.Pointer[string] // nil: it has no file
	tokens   *oauth.Source          // nil: no token endpoint
	secret   atomic.Pointer[string] // of the client of tokens
	token    atomic.Pointer[string] // nil: it has no file
}

func newCredentials(cfg *config.Config, log *slog.Logger) (*credentials, error) {
	c := &credentials{user: cfg.SASLUser}
	if cfg.SASLMechanism == "PLAIN" && !cfg.TLS {
		log.Warn("the password goes to the brokers in clear text: set --tls, or --sasl-mechanism=SCRAM-SHA-512", "sasl-mechanism", cfg.SASLMechanism)
	}
	if cfg.SASLMechanism == config.OAuthBearer && !cfg.TLS {
		log.Warn("the token goes to the brokers in clear text: set --tls", "sasl-mechanism", cfg.SASLMechanism)
	}
	var sources []reload.Source
	if cfg.TLS {
		client, err := tlsconf.NewClient(cfg.BrokerTLS())
		if err != nil {
			return nil, err
		}
		c.tls = client
		sources = append(sources, reload.Source{Name: "--tls-ca, --tls-cert, --tls-key", Files: client.Files(), Load: client.Load})
	}
	if cfg.SASLPasswordFile != "" && cfg.SASLMechanism != config.Off {
		sources = append(sources, reload.Source{Name: "--sasl-password-file", Files: []string{cfg.SASLPasswordFile}, Load: func() error {
			secret, err := cfg.ReadPassword()
			if err != nil {
				return err
			}
			password := secret.Reveal()
			if err := (kafka.SASL{Mechanism: cfg.SASLMechanism, User: cfg.SASLUser, Password: password}).Validate(); err != nil {
				return err
			}
			c.password.Store(&password)
			return nil
		}})
	}
	sources = append(sources, c.tokenSources(cfg, log)...)
	var err error
	c.files, err = reload.New(log, sources...)
	return c, err
}

// tokenSources are the files of --sasl-mechanism=OAUTHBEARER.
func (c *credentials) tokenSources(cfg *config.Config, log *slog.Logger) []reload.Source {
	source := func(name, file string, read func() (config.Secret, error), to *atomic.Pointer[string]) []reload.Source {
		return []reload.Source{{Name: name, Files: []string{file}, Load: func() error {
			secret, err := read()
			if err != nil {
				return err
			}
			text := secret.Reveal()
			to.Store(&text)
			return nil
		}}}
	}
	switch {
	case cfg.SASLMechanism != config.OAuthBearer:
		return nil
	case cfg.OAuthTokenFile != "":
		return source("--oauth-token-file", cfg.OAuthTokenFile, cfg.ReadToken, &c.token)
	}
	c.tokens = oauth.New(oauth.Config{
		URL: cfg.OAuthURL, ClientID: cfg.OAuthClientID, Scope: cfg.OAuthScope, Secret: func() string {
			c.files.Look()
			return *c.secret.Load()
		},
	}, log)
	return source("--oauth-client-secret-file", cfg.OAuthSecretFile, cfg.ReadClientSecret, &c.secret)
}

// addTo gives the sink what it logs in with.
func (c *credentials) addTo(deps *kafka.Deps) {
	if c.tls != nil {
		deps.Secure = func(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
			c.files.Look()
			return c.tls.Secure(ctx, conn, address)
		}
	}
	switch {
	case c.tokens != nil:
		deps.Token, deps.TokenRefused = c.tokens.Token, c.tokens.Refused
	case c.token.Load() != nil:
		deps.Token = func(context.Context, string) (string, error) {
			c.files.Look()
			return *c.token.Load(), nil
		}
		deps.TokenRefused = oauth.RefusedOfFile
	}
	if c.password.Load() != nil {
		deps.Credentials = func() (user, password string) {
			c.files.Look()
			return c.user, *c.password.Load()
		}
	}
}
