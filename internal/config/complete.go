package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// shells are what Completion writes for.
func shells() []string { return []string{"bash", "zsh", "fish"} }

// option is a flag of a command as a shell sees it.
type option struct {
	name, help string
	switches   bool     // takes no value
	values     []string // nil: any
	names      string   // what the value names: "file", "dir" or ""
}

// flagSet declares all flags of a command for what only lists them.
func (c *command) flagSet() *pflag.FlagSet {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	var o options
	o.addTo(flags, c.name)
	if c.settings {
		cfg := &Config{}
		for _, f := range cfg.fields() {
			(&value{field: &f, config: cfg}).addTo(flags)
		}
	}
	return flags
}

// options lists the flags of a command.
func (c *command) options() []option {
	var list []option
	c.flagSet().VisitAll(func(f *pflag.Flag) {
		o := option{name: f.Name, help: f.Usage, switches: f.NoOptDefVal != ""}
		if v, ok := f.Value.(*value); ok {
			o.values, o.names = v.oneof, v.field.names
		}
		if c.name == "spool export" && f.Name == "output" {
			o.names = "file"
		}
		list = append(list, o)
	})
	return list
}

// argument is what a command takes beside flags: "dir", "shell", "command" or "".
func (c *command) argument() string { return strings.Trim(c.args, "<>[]") }

// lastWord is the name of a command within its group.
func (c *command) lastWord() string { return c.name[strings.LastIndexByte(c.name, ' ')+1:] }

// Completion is a script that makes a shell complete commands, flags and values; "" for an unknown shell.
func Completion(shell string) string {
	switch shell {
	case "bash":
		return bashCompletion()
	case "zsh":
		return zshCompletion()
	case "fish":
		return fishCompletion()
	}
	return ""
}

func words(list []command) string {
	var names []string
	for _, c := range list {
		names = append(names, c.lastWord())
	}
	return strings.Join(names, " ")
}

func bashCompletion() string {
	var b strings.Builder
	b.WriteString(`# Completion of ingest for bash. Use: source <(ingest completion bash)
_ingest() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd="" word i
	COMPREPLY=()
	# --flag=value is three words
	if [[ $cur == "=" ]]; then
		cur=""
	elif [[ $prev == "=" ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case "$cmd${cmd:+ }$word" in
`)
	all := commands()
	for _, c := range all[1:] {
		fmt.Fprintf(&b, "\t\t\"%s\") cmd=\"%s\" ;;\n", c.name, c.name)
	}
	b.WriteString("\t\tesac\n\tdone\n\tcase \"$cmd:$prev\" in\n")
	for _, c := range all {
		for _, o := range c.options() {
			switch {
			case o.switches:
			case o.values != nil:
				fmt.Fprintf(&b, "\t%q:--%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", c.name, o.name, strings.Join(o.values, " "))
			case o.names == "file":
				fmt.Fprintf(&b, "\t%q:--%s) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", c.name, o.name)
			case o.names == "dir":
				fmt.Fprintf(&b, "\t%q:--%s) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n", c.name, o.name)
			default:
				fmt.Fprintf(&b, "\t%q:--%s) return ;;\n", c.name, o.name)
			}
		}
	}
	b.WriteString("\tesac\n\tcase \"$cmd\" in\n")
	for _, c := range all {
		var flags []string
		for _, o := range c.options() {
			flags = append(flags, "--"+o.name)
		}
		more := ""
		switch c.argument() {
		case "command":
			group := c
			if c.name == "help" {
				group = all[0]
			}
			more = words(group.children()) + " "
		case "shell":
			more = strings.Join(shells(), " ") + " "
		case "dir":
			fmt.Fprintf(&b, "\t%q) if [[ $cur != -* ]]; then compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- \"$cur\")); return; fi ;;&\n", c.name)
		}
		fmt.Fprintf(&b, "\t%q) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", c.name, more+strings.Join(flags, " "))
	}
	b.WriteString("\tesac\n}\ncomplete -F _ingest ingest\n")
	return b.String()
}

// quoteZsh is text for a specification of _arguments within single quotes.
func quoteZsh(s string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `'\''`, `[`, `\[`, `]`, `\]`, `:`, `\:`).Replace(s)
}

func zshCompletion() string {
	var b strings.Builder
	b.WriteString("#compdef ingest\n# Completion of ingest for zsh. Use: source <(ingest completion zsh), or a file _ingest in $fpath.\n")
	all := commands()
	for _, c := range all {
		fmt.Fprintf(&b, "_ingest%s() {\n\tlocal curcontext=\"$curcontext\" context state line\n\ttypeset -A opt_args\n\t_arguments -C -s", zshName(c.name))
		for _, o := range c.options() {
			value := "=[%s]:value:"
			switch {
			case o.switches:
				value = "[%s]"
			case o.values != nil:
				value += "(" + strings.Join(o.values, " ") + ")"
			case o.names == "file":
				value += "_files"
			case o.names == "dir":
				value += "_files -/"
			}
			fmt.Fprintf(&b, " \\\n\t\t'--%s"+value+"'", o.name, quoteZsh(o.help))
		}
		switch arg := c.argument(); {
		case c.name == "help":
			fmt.Fprintf(&b, " \\\n\t\t'1:command:(%s)'\n", words(all[0].children()))
		case arg == "command":
			fmt.Fprintf(&b, " \\\n\t\t'1:command:((%s))' \\\n\t\t'*::argument:->argument'\n\tcase $state in\n\targument) case $line[1] in\n", described(c.children()))
			for _, child := range c.children() {
				fmt.Fprintf(&b, "\t\t%s) _ingest%s ;;\n", child.lastWord(), zshName(child.name))
			}
			b.WriteString("\t\tesac ;;\n\tesac\n")
		case arg == "shell":
			fmt.Fprintf(&b, " \\\n\t\t'1:shell:(%s)'\n", strings.Join(shells(), " "))
		case arg == "dir":
			b.WriteString(" \\\n\t\t'1:directory:_files -/'\n")
		default:
			b.WriteString("\n")
		}
		b.WriteString("}\n")
	}
	b.WriteString("if [ \"$funcstack[1]\" = _ingest ]; then\n\t_ingest \"$@\"\nelse\n\tcompdef _ingest ingest\nfi\n")
	return b.String()
}

func zshName(command string) string {
	if command == "" {
		return ""
	}
	return "_" + strings.ReplaceAll(command, " ", "_")
}

// described is commands with their summaries for an action of _arguments.
func described(list []command) string {
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprintf(`%s\:"%s"`, c.lastWord(), strings.NewReplacer(`"`, "", `'`, "", ":", "", "(", "", ")", "").Replace(c.summary)))
	}
	return strings.Join(out, " ")
}

func fishCompletion() string {
	var b strings.Builder
	b.WriteString("# Completion of ingest for fish. Use: ingest completion fish | source\n")
	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }
	all := commands()
	top, spool := all[0], all[slices.IndexFunc(all, func(c command) bool { return c.name == "spool" })]
	none := "not __fish_seen_subcommand_from " + words(top.children())
	b.WriteString("complete -c ingest -f\n")
	for _, c := range all {
		parent, name, nested := strings.Cut(c.name, " ")
		when := none
		switch {
		case nested:
			when = "__fish_seen_subcommand_from " + parent + "; and __fish_seen_subcommand_from " + name
			fmt.Fprintf(&b, "complete -c ingest -n %s -a %s -d %s\n",
				quote("__fish_seen_subcommand_from spool; and not __fish_seen_subcommand_from "+words(spool.children())), name, quote(c.summary))
		case c.name != "":
			when = "__fish_seen_subcommand_from " + c.name
			fmt.Fprintf(&b, "complete -c ingest -n %s -a %s -d %s\n", quote(none), c.name, quote(c.summary))
		}
		switch {
		case c.name == "help":
			fmt.Fprintf(&b, "complete -c ingest -n %s -a %s\n", quote(when), quote(words(top.children())))
		case c.argument() == "shell":
			fmt.Fprintf(&b, "complete -c ingest -n %s -a %s\n", quote(when), quote(strings.Join(shells(), " ")))
		case c.argument() == "dir":
			fmt.Fprintf(&b, "complete -c ingest -n %s -a '(__fish_complete_directories)'\n", quote(when))
		}
		for _, o := range c.options() {
			value := " -x"
			switch {
			case o.switches:
				value = ""
			case o.values != nil:
				value = " -x -a " + quote(strings.Join(o.values, " "))
			case o.names == "file":
				value = " -r -F"
			case o.names == "dir":
				value = " -x -a '(__fish_complete_directories)'"
			}
			fmt.Fprintf(&b, "complete -c ingest -n %s -l %s%s -d %s\n", quote(when), o.name, value, quote(o.help))
		}
	}
	return b.String()
}
