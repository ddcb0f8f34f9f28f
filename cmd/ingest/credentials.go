package main

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"

	"functiongraph-ingest/internal/config"
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
}

func newCredentials(cfg *config.Config, log *slog.Logger) (*credentials, error) {
	c := &credentials{user: cfg.SASLUser}
	if cfg.SASLMechanism == "PLAIN" && !cfg.TLS {
		log.Warn("the password goes to the brokers in clear text: set --tls, or --sasl-mechanism=SCRAM-SHA-512", "sasl-mechanism", cfg.SASLMechanism)
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
	var err error
	c.files, err = reload.New(log, sources...)
	return c, err
}

// addTo gives the sink what it logs in with.
func (c *credentials) addTo(deps *kafka.Deps) {
	if c.tls != nil {
		deps.Secure = func(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
			c.files.Look()
			return c.tls.Secure(ctx, conn, address)
		}
	}
	if c.password.Load() != nil {
		deps.Credentials = func() (user, password string) {
			c.files.Look()
			return c.user, *c.password.Load()
		}
	}
}
