package config

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// command is one word, or two, after ingest.
type command struct {
	name     string // "" is the program itself
	args     string // what the usage says between the name and the flags
	summary  string // one line of the help
	more     string // more of it
	settings bool   // takes all settings
}

// commands lists every command, groups in front of what is in them.
func commands() []command {
	const dir = "<dir> is the spool directory: a copy, or one that is in use."
	return []command{
		{args: "<command>", summary: "Takes telemetry over HTTP and puts it into Kafka: nothing lost silently, nothing twice."},
		{name: "serve", summary: "Run as an HTTP listener.", settings: true},
		{name: "extension", summary: "Run as an extension of a FunctionGraph function.", settings: true},
		{name: "check", summary: "Print the settings in effect, and look at brokers, topics, spool and host.", settings: true,
			more: "Nothing is written and no topic is made. The ports and the spool of a\nprocess that runs with the same settings are reported as in use.\nExit code 0: all is well; 1: something that the settings name is not usable; 2: a setting is\nwrong."},
		{name: "spool", args: "<command>", summary: "Inspect a spool directory, export its events, send them to Kafka."},
		{name: "spool ls", args: "<dir>", summary: "Show partitions, sizes, ages, damage, quarantine and set-aside files.", more: dir},
		{name: "spool verify", args: "<dir>", summary: "Read all segments and list the damage.",
			more: dir + "\nExit code 0: nothing is damaged; 1: it could not be read; 3: something is."},
		{name: "spool export", args: "<dir>", summary: "Write the events that are still to be sent, one line each.",
			more: dir + "\nExit code 3: damaged frames were passed over."},
		{name: "spool replay", summary: "Send all events of --spool-dir to Kafka, then exit.", settings: true,
			more: "Exit code 0: the spool is empty; 1: events are left; 3: events are lost or damaged.\nSettings for taking telemetry are not used here, except --shutdown-timeout."},
		{name: "top", summary: "Show the state of a running process in a terminal.",
			more: "It asks the admin address and changes nothing. q or Ctrl-C ends it. Where the output is\nno terminal, or with --once, one picture is printed.\nExit code 0: it was shown; 1: there was no answer."},
		{name: "audit", summary: "Prove from a topic that no event is missing, doubled or out of order.", settings: true,
			more: "Reads --topic, those of the categories (--topic-platform and so on) and --dead-letter-topic,\nwhich were written with --headers: name all topics that the processes write to. No consumer\ngroup is used and nothing is written. Exit code 0: complete; 1: the topics could not be\nread; 3: not complete. Settings for taking telemetry are not used here."},
		{name: "dlq", args: "<command>", summary: "Inspect dead letters and send them again."},
		{name: "dlq ls", summary: "Count dead letters by reason and function.", settings: true, more: deadLetters},
		{name: "dlq show", summary: "Print dead letters, a JSON object a line.", settings: true, more: deadLetters},
		{name: "dlq resend", summary: "Post dead letters to a listener.", settings: true,
			more: deadLetters + "\nA line of \"dlq show\" with another value or valueBase64 is sent as mended with --input. Exit code\n0: all were taken; 1: some were not, or could not be read. A letter stays in the topic: a\nsecond resend makes a second event."},
		{name: "completion", args: "<shell>", summary: "Print a script that completes commands, flags and values.",
			more: "<shell> is bash, zsh or fish: source <(ingest completion bash)"},
		{name: "man", summary: "Print the manual page.", more: "To read it: ingest man > ingest.1; man ./ingest.1"},
		{name: "version", summary: "Print the version."},
		{name: "help", args: "[command]", summary: "Show the help of a command."},
	}
}

const deadLetters = "--dead-letter-topic is read from its beginning; its default is --topic with .dlq at its end."

// findCommand takes the names of a command off a command line. "help serve" is "serve --help".
func findCommand(args []string) (command, []string) {
	all := commands()
	if len(args) > 0 && args[0] == "help" {
		cmd, rest := findCommand(args[1:])
		if cmd.name == "" && len(rest) == 0 || cmd.name != "" {
			rest = append(slices.Clone(rest), "--help")
		}
		return cmd, rest
	}
	cmd := all[0]
	for len(args) > 0 {
		name := strings.TrimSpace(cmd.name + " " + args[0])
		i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
		if i <= 0 {
			break
		}
		cmd, args = all[i], args[1:]
	}
	return cmd, args
}

// children are the commands of a group.
func (c *command) children() []command {
	return slices.DeleteFunc(commands(), func(other command) bool {
		words := strings.Fields(other.name)
		return len(words) == 0 || strings.Join(words[:len(words)-1], " ") != c.name
	})
}

func (c *command) isGroup() bool { return c.args == "<command>" }

func (c *command) notes() string {
	if c.settings {
		return sources
	}
	return ""
}

// options are the flags that are no settings, of all commands.
type options struct {
	help, version       toggle
	extension, markdown toggle   // check
	offline             toggle   // check
	json                toggle   // check, spool ls, version, audit, dlq ls
	dryRun              toggle   // dlq resend
	withMeta            toggle   // spool export
	since, until        string   // since: also of spool export
	offsets             []string // of audit
	letters             LetterOptions
	spool               SpoolOptions
	top                 TopOptions
	once                toggle // top
}

// TopOptions are the flags of ingest top.
type TopOptions struct {
	Admin     string // host:port, https://host:port or unix:/path
	TokenFile string // "": none is sent
	TLSCA     string // "": the system's authorities
	Once      bool
}

// firstOf is the first text that is not empty.
func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// toggle is a switch that is off until it is named.
type toggle bool

// Set reads what may stand behind the name.
func (t *toggle) Set(text string) error {
	yes, err := readBool(text)
	*t = toggle(yes)
	return err
}

// String is true or false.
func (t *toggle) String() string { return strconv.FormatBool(bool(*t)) }

// Type is that of a switch.
func (*toggle) Type() string { return "bool" }

// addTo declares the flags of one command.
func (o *options) addTo(flags *pflag.FlagSet, cmd string) {
	add := func(t *toggle, name, short, help string) { flags.VarPF(t, name, short, help).NoOptDefVal = "true" }
	add(&o.help, "help", "h", "Show this help.")
	add(&o.version, "version", "", "Print the version.")
	switch cmd {
	case "check":
		add(&o.extension, "extension", "", "Check the settings as \"ingest extension\" would take them.")
		add(&o.offline, "offline", "", "Check the settings only, not the brokers, topics, files and ports that they name.")
		add(&o.json, "json", "", "Print JSON.")
		add(&o.markdown, "markdown", "", "Print the table of all settings instead.")
	case "top":
		flags.StringVar(&o.top.Admin, "admin", firstOf(os.Getenv("INGEST_ADMIN"), commandDefaults(Serve, Host{})["admin"]), "Admin `ADDRESS` of the process: host:port, https://host:port or unix:/PATH; default: $INGEST_ADMIN.")
		flags.StringVar(&o.top.TokenFile, "token-file", os.Getenv("INGEST_ADMIN_TOKEN_FILE"), "`FILE` with the token that the address asks for, as --admin-token-file; default: $INGEST_ADMIN_TOKEN_FILE.")
		flags.StringVar(&o.top.TLSCA, "tls-ca", "", "PEM `FILE` of the authorities to trust; implies https. Default: the system's.")
		add(&o.once, "once", "", "Print one picture and end.")
	case "spool ls", "version":
		add(&o.json, "json", "", "Print JSON.")
	case "audit":
		add(&o.json, "json", "", "Print JSON.")
		o.addRange(flags)
		flags.StringSliceVar(&o.offsets, "offsets", nil, "Only these offsets of --topic, as `PARTITION:FIRST-LAST`; other partitions are read whole.")
	case "dlq ls":
		add(&o.json, "json", "", "Print JSON.")
		o.addLetters(flags)
	case "dlq show":
		o.addLetters(flags)
		flags.IntVar(&o.letters.Limit, "limit", 0, "Maximum number `N` of letters; 0: all.")
	case "dlq resend":
		o.addLetters(flags)
		flags.StringVar(&o.letters.To, "to", "", "`URL` to post to, for example http://127.0.0.1:8080/, or topic: to the topic itself, past any listener. Required.")
		flags.StringVar(&o.letters.TokenFile, "to-token-file", os.Getenv("INGEST_LISTEN_TOKEN_FILE"), "`FILE` with the token that the listener asks for, as --listen-token-file; default: $INGEST_LISTEN_TOKEN_FILE.")
		flags.StringVar(&o.letters.CA, "to-ca", "", "PEM `FILE` of the authorities to trust with https. Default: the system's.")
		flags.StringVar(&o.letters.Cert, "to-cert", "", "PEM `FILE` of a certificate to show the listener.")
		flags.StringVar(&o.letters.Key, "to-key", "", "PEM `FILE` of its key, where it has a file of its own.")
		flags.StringVar(&o.letters.Input, "input", "", "`FILE` with lines of \"dlq show\", which are sent in place of the topic's; - for stdin.")
		add(&o.dryRun, "dry-run", "", "Print what would be sent, and send nothing.")
	case "spool export":
		flags.StringSliceVar(&o.spool.Topics, "topic", nil, "Only these `TOPICS`; a dead-letter topic only if it is named.")
		flags.Int32SliceVar(&o.spool.Partitions, "partition", nil, "Only these `PARTITIONS`.")
		flags.Lookup("partition").DefValue = "" // or the help has a default of []
		flags.StringVar(&o.since, "since", "", "Only records of this `AGE` at most (2h) or from this time on (RFC 3339).")
		flags.StringVar(&o.spool.Output, "output", "", "New `FILE` to write to; default: stdout.")
		add(&o.withMeta, "with-meta", "", "Lines with topic, partition, key, timestamp, headers and value.")
	case "spool replay":
		flags.DurationVar(&o.spool.Timeout, "timeout", 0, "Maximum `TIME` to send; the rest stays in the spool. 0: no maximum.")
	}
}
