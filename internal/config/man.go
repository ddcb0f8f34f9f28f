package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Man is the manual page in troff, made from the declarations. version stands at its foot.
func Man(version string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	all := commands()
	line(`.TH INGEST 1 "" "%s" "User Commands"`, troff(version))
	line(".SH NAME\ningest \\- HTTP in, Kafka out: nothing lost silently, nothing twice")
	line(".SH SYNOPSIS")
	for i, c := range all[1:] {
		if c.isGroup() {
			continue
		}
		if i > 0 {
			line(".br")
		}
		line(".B ingest %s\n%s", troff(c.name), troff(strings.TrimSpace(c.args+" [flags]")))
	}
	line(".SH DESCRIPTION\n%s", troff(all[0].summary))
	line(".PP\n%s", troff(strings.ReplaceAll(sources, "\n", " ")))
	line(".SH COMMANDS")
	for _, c := range all[1:] {
		if c.isGroup() {
			continue
		}
		line(".TP\n.B %s %s\n%s", troff(c.name), troff(c.args), troff(c.summary))
		if c.more != "" {
			line("%s", troff(strings.ReplaceAll(c.more, "\n", " ")))
		}
		c.flagSet().VisitAll(func(f *pflag.Flag) {
			if len(f.Annotations[groupKey]) == 0 && f.Name != "help" && f.Name != "version" {
				name, usage := pflag.UnquoteUsage(f)
				line(".RS\n.TP\n.B \\-\\-%s %s\n%s\n.RE", troff(f.Name), troff(name), troff(usage))
			}
		})
	}
	var c Config
	serve, extension := commandDefaults(Serve, Host{}), commandDefaults(Extension, Host{})
	group := ""
	line(".SH SETTINGS\nFlags of serve, extension, check and spool replay.")
	for _, f := range c.fields() {
		if f.group != group {
			group = f.group
			line(".SS %s", troff(groupTitle(group)))
		}
		v := value{field: &f}
		kind := v.Type()
		if kind == "bool" {
			kind = ""
		}
		line(".TP\n.B \\-\\-%s %s", troff(f.name), troff(kind))
		line("%s", troff(f.words()))
		line("Default: %s. Environment: %s.", troff(strings.TrimSuffix(strings.ReplaceAll(f.defaultWords(serve, extension), "`", ""), ".")), troff(f.env))
	}
	line(".SH EXIT STATUS")
	for _, e := range []struct{ code, text string }{
		{"0", "Done; everything that was accepted is in Kafka, in the spool or in the dead-letter topic."},
		{"1", "Could not start or look, for a reason that is not a setting; spool replay: frames are left; check: something that the settings name is not well."},
		{"2", "A bad setting or command line."},
		{"3", "Something that was accepted is lost, and the last line says what and why; spool verify and export: something is damaged."},
	} {
		line(".TP\n.B %s\n%s", e.code, troff(e.text))
	}
	return b.String()
}

// troff is text that means itself: no escape, no request at the begin of a line, dashes that can be copied.
func troff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
