package main

import (
	"log/slog"

	"functiongraph-ingest/internal/bearer"
	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/reload"
	"functiongraph-ingest/internal/tlsconf"
)

// doors is what guards the addresses that take connections. Their files are looked at for each handshake, and those of
// tokens once a second while requests come.
type doors struct {
	files         *reload.Files
	listen, admin guards
}

type guards struct {
	tls    *tlsconf.Server // nil: plaintext
	tokens *bearer.Tokens  // nil: none is asked for
}

func newDoors(cfg *config.Config, log *slog.Logger) (*doors, error) {
	d := &doors{}
	var sources []reload.Source
	add := func(g *guards, name string, settings tlsconf.ServerSettings, secure bool, tokens string) (err error) {
		if secure {
			if g.tls, err = tlsconf.NewServer(settings, d.look); err != nil {
				return err
			}
			sources = append(sources, reload.Source{Name: "--" + name + "-tls-cert, --" + name + "-tls-key, --" + name + "-tls-client-ca", Files: g.tls.Files(), Load: g.tls.Load})
		}
		if tokens != "" {
			if g.tokens, err = bearer.New(tokens); err != nil {
				return err
			}
			sources = append(sources, reload.Source{Name: "--" + name + "-token-file", Files: []string{tokens}, Load: g.tokens.Load})
		}
		return nil
	}
	settings, secure := cfg.ListenTLS()
	if err := add(&d.listen, "listen", settings, secure, cfg.ListenTokenFile); err != nil {
		return nil, err
	}
	settings, secure = cfg.AdminTLS()
	if err := add(&d.admin, "admin", settings, secure, cfg.AdminTokenFile); err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return d, nil
	}
	var err error
	d.files, err = reload.New(log, sources...)
	return d, err
}

// look reads changed files again.
func (d *doors) look() { d.files.Look() }
