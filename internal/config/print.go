package config

import (
	"fmt"
	"io"
	"strings"
)

// Shown is one setting as it may be shown: secrets are masked.
type Shown struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"` // "--name", "INGEST_NAME", "RUNTIME_USERDATA", "FILE:LINE" or "default"
	Masked bool   `json:"masked,omitempty"`

	list   []string
	isList bool
}

// Shown lists the settings in effect, in the order of their declaration. Those that mean nothing to the command are
// left out.
func (c *Config) Shown() []Shown {
	var list []Shown
	for _, f := range c.fields() {
		if f.name == "config" || f.group == "extension" && c.command != Extension {
			continue
		}
		_, secret := f.value.Interface().(Secret)
		s := Shown{Name: f.name, Value: f.text(), Source: "default", Masked: secret || f.text() != f.plain()}
		if source := c.sources[f.name]; source != "" {
			s.Source = source
		}
		s.list, s.isList = f.value.Interface().([]string)
		list = append(list, s)
	}
	return list
}

// WriteYAML prints all settings as a file for --config, in a section for each source. Secrets are masked, as
// comments, so that the mask cannot be read back as a password.
func (c *Config) WriteYAML(w io.Writer) error {
	titles := []string{"from the command line", "from the environment", "from " + userDataVariable, "from " + c.ConfigFile, "defaults"}
	sections := make([]strings.Builder, len(titles))
	for _, s := range c.Shown() {
		b := &sections[3]
		switch {
		case s.Source == "default":
			b = &sections[4]
		case s.Source == userDataVariable:
			b = &sections[2]
		case strings.HasPrefix(s.Source, "--"):
			b = &sections[0]
		case strings.HasPrefix(s.Source, envPrefix):
			b = &sections[1]
		}
		text := yamlText(s.Value)
		if s.isList && !s.Masked {
			items := make([]string, len(s.list))
			for i := range s.list {
				items[i] = yamlText(s.list[i])
			}
			text = "[" + strings.Join(items, ", ") + "]"
		}
		if s.Masked {
			b.WriteString("# ")
		}
		fmt.Fprintf(b, "%s: %s\n", s.Name, text)
	}
	for i := range sections {
		if sections[i].Len() == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "# %s:\n%s", titles[i], &sections[i]); err != nil {
			return err
		}
	}
	return nil
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
	spool := ""
	if b.SpoolData > 0 {
		spool = fmt.Sprintf(" + spool %s", b.SpoolData)
	}
	return fmt.Sprintf("memory-limit %s = bodies %s + batches %s + connections %s (%d)%s + runtime %s; largest body %s; GOMEMLIMIT %s",
		b.Limit, b.Gate, b.Buffers, b.Conns, b.MaxConns, spool, b.Runtime, b.MaxBody, b.GoMemLimit)
}
