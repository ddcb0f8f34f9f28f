package config

import (
	"fmt"
	"strings"
)

// Markdown is the table of all settings, docs/settings.md. A test keeps the file equal to it.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Settings

Every setting is a flag, an environment variable and a key of the YAML file that ` + "`--config`" + ` names (the key is
the flag without the dashes in front). A flag wins over the environment, that over the file, that over the
default. An extension also reads variables that stand in ` + "`RUNTIME_USERDATA`" + `, a JSON object, where the environment does
not have them. Sizes take B, KiB, MiB, GiB, KB, MB and GB; durations look like 250ms, 30s, 5m.

` + "`ingest check`" + ` prints the settings in effect and everything that is wrong with them. This page is made by
` + "`go run ./cmd/ingest check --markdown > docs/settings.md`" + `.
`)
	serve, extension := commandDefaults(Serve, Host{}), commandDefaults(Extension, Host{})
	var c Config
	group := ""
	for _, f := range c.fields() {
		if f.group != group {
			group = f.group
			fmt.Fprintf(&b, "\n## %s\n\n| flag | environment | default | meaning |\n|---|---|---|---|\n", groupTitle(group))
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", f.name, f.env, f.defaultWords(serve, extension), f.words())
	}
	return b.String()
}

func groupTitle(key string) string {
	for _, g := range groups() {
		if g.key == key {
			return strings.TrimSuffix(g.title, ":")
		}
	}
	return key
}

// defaultWords is a default for people, with both values where the commands differ.
func (f *field) defaultWords(serve, extension map[string]string) string {
	if strings.HasPrefix(f.doc, "<") {
		return "`" + f.doc + "`"
	}
	if f.doc != "" {
		return f.doc
	}
	name, varies := strings.CutPrefix(f.def, "${")
	if !varies {
		return "`" + f.def + "`"
	}
	name = strings.TrimSuffix(name, "}")
	return fmt.Sprintf("`%s` (serve), `%s` (extension)", serve[name], extension[name])
}
