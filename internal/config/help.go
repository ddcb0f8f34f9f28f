package config

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

const sources = `Every flag is also an environment variable (--max-body is INGEST_MAX_BODY) and a
key of the file that --config names (max-body: 4MiB). A flag wins over the
environment, that over the file. Sizes take B, KiB, MiB, GiB, KB, MB and GB;
durations look like 250ms, 30s, 5m.`

// groupKey is the annotation of a flag that names its group.
const groupKey = "group"

type group struct{ key, title string }

// groups is the order of the help. A flag without a group is the command's own.
func groups() []group {
	return []group{
		{"", "Flags:"},
		{"general", "General:"},
		{"intake", "Taking telemetry:"},
		{"guard", "Access:"},
		{"delivery", "Delivering events:"},
		{"extension", "As an extension (ingest extension):"},
		{"memory", "Memory and disk:"},
		{"security", "TLS and login to the brokers:"},
	}
}

// writeHelp prints the help of a command.
func writeHelp(w io.Writer, cmd *command, flags *pflag.FlagSet) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s\n", strings.Join(strings.Fields("ingest "+cmd.name+" "+cmd.args+" [flags]"), " "), cmd.summary)
	for _, text := range []string{cmd.more, cmd.notes()} {
		if text != "" {
			fmt.Fprintf(&b, "\n%s\n", text)
		}
	}
	if cmd.isGroup() {
		b.WriteString("\nCommands:\n")
		for _, c := range cmd.children() {
			fmt.Fprintf(&b, "  %-12s  %s\n", c.name, c.summary)
		}
	}
	for _, g := range groups() {
		part := pflag.NewFlagSet("", pflag.ContinueOnError)
		part.SortFlags = false
		flags.VisitAll(func(f *pflag.Flag) {
			if key := f.Annotations[groupKey]; len(key) == 0 && g.key == "" || len(key) == 1 && key[0] == g.key {
				part.AddFlag(f)
			}
		})
		if part.HasFlags() {
			fmt.Fprintf(&b, "\n%s\n%s", g.title, part.FlagUsagesWrapped(helpWidth()))
		}
	}
	if cmd.isGroup() {
		b.WriteString("\nRun \"ingest <command> --help\" for more information on a command.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// helpWidth is the screen's width where the environment tells it, within what is good to read.
func helpWidth() int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil {
		return min(max(n, 60), 110)
	}
	return 80
}
