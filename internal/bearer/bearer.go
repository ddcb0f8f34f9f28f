// Package bearer checks the tokens that HTTP requests carry: Authorization: Bearer TOKEN (RFC 6750).
package bearer

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

const (
	maxFile   = 64 << 10
	maxTokens = 100 // each is compared with what every request carries
	scheme    = "Bearer "
)

// Tokens are those that are accepted. All methods are safe for concurrent use.
type Tokens struct {
	path string
	sums atomic.Pointer[[][sha256.Size]byte]
}

// New reads a file with one token per line: the old and the new one, while clients change over. Empty lines and
// lines that begin with # are skipped. No error repeats what is in the file.
func New(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	return t, t.Load()
}

// Load reads the file again. With an error nothing changes.
func (t *Tokens) Load() error {
	data, err := read(t.path)
	if err != nil {
		return err
	}
	sums := [][sha256.Size]byte{}
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
			continue
		case bytes.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r > '~' }):
			return fmt.Errorf("line %d is no token: blanks and characters beyond ASCII cannot be sent", i+1)
		case len(sums) == maxTokens:
			return fmt.Errorf("has more than %d tokens", maxTokens)
		}
		sums = append(sums, sha256.Sum256(line))
	}
	if len(sums) == 0 {
		return errors.New("holds no token")
	}
	t.sums.Store(&sums)
	return nil
}

// Path is the file.
func (t *Tokens) Path() string { return t.path }

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathless(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is no regular file; it is read again when it changes") // a pipe would block
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, pathless(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, pathless(err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("is larger than %d KiB: not a file of tokens", maxFile>>10)
	}
	return data, nil
}

// pathless leaves out a path that may be a token in place of its file's name.
func pathless(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("cannot be read: %w", p.Err)
	}
	return err
}

// Allow reports whether the value of an Authorization field carries one of the tokens. The time that it takes does
// not depend on how much of a token is right. A nil Tokens allows everything.
func (t *Tokens) Allow(authorization []byte) bool {
	if t == nil {
		return true
	}
	if len(authorization) < len(scheme) || !bytes.EqualFold(authorization[:len(scheme)], []byte(scheme)) {
		return false
	}
	sum := sha256.Sum256(bytes.TrimSpace(authorization[len(scheme):]))
	ok, sums := 0, *t.sums.Load()
	for i := range sums {
		ok |= subtle.ConstantTimeCompare(sum[:], sums[i][:])
	}
	return ok == 1
}
