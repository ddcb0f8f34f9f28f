package config

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Secret is a value that must not appear in logs, printed settings or error messages: everything that
// formats it sees the mask. Reveal is the only way to the value.
type Secret string

const mask = "********"

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }

// String is the mask, or "" when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString keeps the value out of %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText keeps the value out of JSON and of slog's output.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// readSecret returns a file's content without the newline at its end, as editors and mounted secrets
// leave one.
func readSecret(path string) (Secret, error) {
	const most = 64 << 10 // a password, not a mistaken path to something big
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", err
	}
	if len(buf) > most {
		return "", fmt.Errorf("%s is larger than %d bytes: not a secret", path, most)
	}
	s := strings.TrimRight(string(buf), "\r\n")
	if s == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return Secret(s), nil
}
