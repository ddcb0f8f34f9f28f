package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
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

// shown is a setting's value as it may be repeated in messages and by ingest check. Not only secrets are masked, but
// also what users put a secret into by mistake: a user with its password, an address with a login, a password in
// place of the name of its file, or of a word.
func (f *field) shown(text string) string {
	login := strings.HasPrefix(f.name, "sasl") || strings.HasPrefix(f.name, "oauth")
	isPath := strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../")
	switch {
	case text == "":
		return ""
	case (login || strings.HasSuffix(f.name, "token-file")) && f.names == "file" && !isPath:
		return mask
	case login && f.oneof != nil && !slices.ContainsFunc(f.oneof, func(w string) bool { return strings.EqualFold(w, text) }):
		return mask
	case f.name == "oauth-token-url" && !strings.Contains(text, "://"):
		return mask
	case f.name == "sasl-user":
		if user, _, both := strings.Cut(text, ":"); both {
			return user + ":" + mask
		}
		return text
	}
	if f.name == "oauth-token-url" {
		text, _, _ = strings.Cut(text, "?")
	}
	parts := strings.Split(text, ",")
	for i, part := range parts {
		if at := strings.LastIndexByte(part, '@'); at >= 0 && strings.Contains(part[:at], ":") {
			parts[i] = mask + part[at:]
		}
	}
	return strings.Join(parts, ",")
}

// shownAs is shown for a setting by its name; what is no setting is shown as it is.
func shownAs(name, text string) string {
	var c Config
	for _, f := range c.fields() {
		if f.name == name {
			return f.shown(text)
		}
	}
	return text
}

// readSecret returns a file's content without the newline at its end, as editors and mounted secrets
// leave one.
func readSecret(path string) (Secret, error) {
	const most = 64 << 10 // a password, not a mistaken path to something big
	f, err := os.Open(path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer f.Close()
	buf, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", withoutPath(err)
	}
	if len(buf) > most {
		return "", fmt.Errorf("it is larger than %d bytes: not a secret", most)
	}
	s := strings.TrimRight(string(buf), "\r\n")
	if s == "" {
		return "", errors.New("it is empty")
	}
	return Secret(s), nil
}

// withoutPath is the cause of a file's error: its path may be a password that was given in place of its file.
func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
