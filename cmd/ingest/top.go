package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/internal/term"
	"functiongraph-ingest/internal/top"
)

// watch shows a process that runs: ingest top.
func watch(o *config.TopOptions, stdout, stderr io.Writer) int {
	failed := func(err error) int {
		fmt.Fprintln(stderr, "ingest: "+printable.Text(err.Error()))
		return exitFailed
	}
	token, err := firstToken(o.TokenFile)
	if p, ok := errors.AsType[*os.PathError](err); ok {
		err = fmt.Errorf("cannot be read: %w", p.Err) // the path may be a token in place of its file's name
	}
	if err != nil {
		return failed(fmt.Errorf("--token-file: %w", err))
	}
	trust, err := trusted(o.TLSCA)
	if err != nil {
		return failed(fmt.Errorf("--tls-ca: %w", err))
	}
	address := o.Admin
	if trust != nil && !strings.Contains(address, "://") && !strings.HasPrefix(address, "unix:") {
		address = "https://" + address
	}
	client := top.NewClient(address, token, trust)
	defer client.Close()
	ctx, _, end := signals()
	defer end()
	screen := &top.Screen{Out: stdout, Size: func() (int, int) { return terminalSize(stdout) }}
	screen.Colors = term.Colors{On: isTerminal(stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if o.Once || !isTerminal(stdout) {
		err = top.Once(ctx, client, screen, o.Admin)
	} else {
		screen.Keys, end = typed(ctx, os.Stdin)
		defer end()
		err = top.Run(ctx, client, screen, o.Admin)
	}
	if err != nil && ctx.Err() == nil {
		return failed(err)
	}
	return exitOK
}

// typed passes on what is typed, key by key where the terminal can do that. end gives the terminal back; the reader
// stays with its read, and ends with the process.
func typed(ctx context.Context, in *os.File) (keys <-chan byte, end func()) {
	end = keyByKey(in)
	c := make(chan byte)
	go func() {
		defer close(c)
		for r := bufio.NewReader(in); ; {
			k, err := r.ReadByte()
			if err != nil {
				return
			}
			select {
			case c <- k:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c, end
}

// firstToken is the first one in a file as --admin-token-file has it; "" for no file.
func firstToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(io.LimitReader(f, 64<<10)); s.Scan(); {
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 && line[0] != '#' {
			return string(line), nil
		}
	}
	return "", fmt.Errorf("%s has no token", path)
}

// trusted reads the certificates of the authorities that may vouch for the admin address; nil for no file.
func trusted(path string) (*tls.Config, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
