package config

import (
	"fmt"
	"io"
	"strings"
)

// WriteYAML prints all settings as a file for --config. Secrets are masked, as comments, so that the mask
// cannot be read back as a password.
func (c *Config) WriteYAML(w io.Writer) error {
	var b strings.Builder
	for _, f := range c.fields() {
		if f.name == "config" {
			continue
		}
		text := yamlText(f.text())
		_, secret := f.value.Interface().(Secret)
		if secret || f.text() != f.plain() {
			fmt.Fprintf(&b, "# %s: %s\n", f.name, text)
			continue
		}
		switch v := f.value.Interface().(type) {
		case []string:
			items := make([]string, len(v))
			for i := range v {
				items[i] = yamlText(v[i])
			}
			text = "[" + strings.Join(items, ", ") + "]"
		}
		fmt.Fprintf(&b, "%s: %s\n", f.name, text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// yamlText quotes what YAML would read as something else than this text.
func yamlText(s string) string {
	plain := s != "" && s != "-" && !strings.ContainsAny(s[:1], "!&*?|>%@`'\"#{}[], -")
	if plain && !strings.ContainsAny(s, "\n\t\\\"'#{}[],") && !strings.Contains(s, ": ") && !strings.HasSuffix(s, ":") {
		return s
	}
	if s == "-1" {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// String is the split in one line.
func (b Budget) String() string {
	return fmt.Sprintf("memory-limit %s = bodies %s + batches %s + connections %s (%d) + runtime %s; largest body %s; GOMEMLIMIT %s",
		b.Limit, b.Gate, b.Buffers, b.Conns, b.MaxConns, b.Runtime, b.MaxBody, b.GoMemLimit)
}
