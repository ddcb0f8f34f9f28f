// Package tlsconf makes TLS connections to brokers from PEM files, and says in the words of the settings
// what is wrong with a file or why a handshake failed.
//
// [Client] is one set of settings. A file that is not what it should be gives an [*Error] that names the
// command which converts it.
package tlsconf

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// maxFile bounds what is read of one file. The certificates of all public authorities have 250 KB.
const maxFile = 4 << 20

// Error is a file that cannot be used.
type Error struct {
	Path string
	Text string // what is wrong with it and what to do
}

// Error is the path and the text.
func (e *Error) Error() string { return e.Path + ": " + e.Text }

func fail(path, format string, args ...any) error {
	return &Error{Path: path, Text: fmt.Sprintf(format, args...)}
}

// loadCA reads the certificates of authorities from PEM files, at least one from each.
func loadCA(paths []string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, path := range paths {
		found, err := readPEM(path, purposeCA)
		if err != nil {
			return nil, err
		}
		if len(found.certs) == 0 {
			return nil, fail(path, "holds no certificate%s", found.whatElse())
		}
		all = append(all, found.certs...)
	}
	return all, nil
}

// loadPair reads one private key, the certificate that it belongs to and the rest of the chain from PEM files,
// in whatever order they stand there.
func loadPair(certPaths []string, keyPath, keySetting string) (*tls.Certificate, error) {
	paths := certPaths
	if keyPath != "" {
		paths = append(paths[:len(paths):len(paths)], keyPath)
	}
	var all contents
	keyIn := ""
	for _, path := range paths {
		purpose := purposeCert
		if path == keyPath {
			purpose = purposeKey
		}
		found, err := readPEM(path, purpose)
		switch {
		case err != nil:
			return nil, err
		case len(found.certs) == 0 && path != keyPath && found.key == nil:
			return nil, fail(path, "holds no certificate%s", found.whatElse())
		case found.key == nil && path == keyPath:
			return nil, fail(path, "holds no private key%s", found.whatElse())
		case found.key != nil && all.key != nil && !samePublic(found.key, all.key):
			return nil, fail(path, "holds a private key, and %s another one: give one", keyIn)
		case found.key != nil:
			all.key, keyIn = found.key, path
		}
		all.certs = append(all.certs, found.certs...)
	}
	if all.key == nil {
		return nil, fail(certPaths[0], "holds no private key: name the file that does in %s", keySetting)
	}
	pair := &tls.Certificate{PrivateKey: all.key}
	for _, c := range all.certs {
		if pair.Leaf == nil && publicEqual(c.PublicKey, all.key) {
			pair.Leaf = c
		}
	}
	if pair.Leaf == nil {
		return nil, fail(keyIn, "holds the private key of another certificate than %s", strings.Join(certPaths, ", "))
	}
	for _, c := range chainOf(pair.Leaf, all.certs) {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}

// chainOf puts certificates into the order in which TLS sends them: each is signed by the next one. What belongs
// to no chain is left out, and so is what stands there twice.
func chainOf(leaf *x509.Certificate, certs []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for next := leaf; next != nil; {
		last := next
		next = nil
		for _, c := range certs {
			if bytes.Equal(c.RawSubject, last.RawIssuer) && !slices.ContainsFunc(chain, c.Equal) && last.CheckSignatureFrom(c) == nil {
				next = c
				chain = append(chain, c)
				break
			}
		}
	}
	return chain
}

func samePublic(a, b crypto.Signer) bool { return publicEqual(a.Public(), b) }

// publicEqual reports whether key is the private half of public.
func publicEqual(public any, key crypto.Signer) bool {
	p, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && p.Equal(key.Public())
}

// contents is what a file holds.
type contents struct {
	certs  []*x509.Certificate
	key    crypto.Signer
	others []string // types of the blocks that are neither
}

// whatElse says what stands in the file in place of what was looked for.
func (c *contents) whatElse() string {
	switch {
	case len(c.others) > 0:
		return ", only " + strings.Join(c.others, ", ")
	case c.key != nil:
		return ", only a private key"
	case len(c.certs) > 0:
		return ", only certificates"
	}
	return ""
}

// readFile reads a file that is small enough to hold certificates. It opens nothing that could block.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fail(path, "must be a file that can be read: %v", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fail(path, "must be a regular file, it is read again when it changes")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fail(path, "must be a file that can be read: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fail(path, "must be a file that can be read: %v", err)
	case len(data) > maxFile:
		return nil, fail(path, "is larger than %d MiB: not a file of certificates", maxFile>>20)
	}
	return data, nil
}

// readPEM takes a file apart.
func readPEM(path string, why purpose) (contents, error) {
	var c contents
	data, err := readFile(path)
	if err != nil {
		return c, err
	}
	rest := bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	n := 0
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		n++
		if err := c.add(block, path, why); err != nil {
			return c, err
		}
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN ")):
		return c, fail(path, "is damaged: block %d of PEM is not complete", n+1)
	case n == 0:
		return c, fail(path, "%s", diagnose(data, path, why))
	}
	return c, nil
}

// add takes one block of a file.
func (c *contents) add(b *pem.Block, path string, why purpose) error {
	switch {
	case b.Type == "CERTIFICATE":
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return fail(path, "holds a certificate that cannot be read (number %d): %v", len(c.certs)+1, err)
		}
		c.certs = append(c.certs, cert)
	case b.Type == "PKCS7" || b.Type == "CMS":
		return fail(path, "holds PKCS#7, not certificates: convert it with openssl pkcs7 -in %s -print_certs -out out.pem", shell(path))
	case why == purposeCA:
		c.others = append(c.others, b.Type)
	case b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "":
		return fail(path, "holds a private key with a password, which cannot be typed here: take it off with openssl pkey -in %s -out out.pem", shell(path))
	case b.Type == "PRIVATE KEY" || b.Type == "RSA PRIVATE KEY" || b.Type == "EC PRIVATE KEY":
		key, err := parseKey(b.Bytes)
		if err != nil {
			return fail(path, "holds a private key that cannot be read: %v", err)
		}
		if c.key != nil && !samePublic(key, c.key) {
			return fail(path, "holds more than one private key: leave one")
		}
		c.key = key
	default:
		c.others = append(c.others, b.Type)
	}
	return nil
}

var errKey = errors.New("it is neither PKCS#8, PKCS#1 nor SEC 1, or its kind is unknown")

// parseKey reads a private key in any of the three forms that tools write.
func parseKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errKey // X25519: cannot sign
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errKey
}
