package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Invocation is a parsed command line.
type Invocation struct {
	Command  string        // serve, extension, check, spool ls|verify|export|replay, version, or "" when help was printed and nothing is left to do
	Config   *Config       // of serve, extension, check and spool replay
	Markdown bool          // check: print the table of all settings instead
	Spool    *SpoolOptions // of the spool commands
}

// settings is Config without its methods: Kong calls Validate on what it parses into, at a time when the
// derived values are not yet in.
type settings Config

// grammar is what Kong parses; Parse adds the commands.
type grammar struct {
	Version versionFlag `name:"version" help:"Print the version."`
}

type serveCommand struct {
	Settings settings `embed:""`
}

type extensionCommand struct {
	Settings settings `embed:""`
}

type checkCommand struct {
	Extension bool     `name:"extension" help:"Check the settings as \"ingest extension\" would take them."`
	Markdown  bool     `name:"markdown" help:"Print the table of all settings instead."`
	Settings  settings `embed:""`
}

// Help is what the help of a command says below its first line.
func (serveCommand) Help() string { return sources }

// Help is what the help of a command says below its first line.
func (extensionCommand) Help() string { return sources }

// Help is what the help of a command says below its first line.
func (checkCommand) Help() string { return sources }

const sources = "Every flag is also an environment variable (--max-body is INGEST_MAX_BODY) and a key of the file that " +
	"--config names (max-body: 4MiB). A flag wins over the environment, that over the file. " +
	"Sizes take B, KiB, MiB, GiB, KB, MB and GB; durations look like 250ms, 30s, 5m."

// outcome is what hooks leave behind while Kong parses.
type outcome struct{ help, version bool }

type versionFlag bool

// BeforeReset runs before required commands are asked for, so that --version needs none.
func (versionFlag) BeforeReset(o *outcome) error {
	o.version = true
	return nil
}

// Parse reads a command line, the environment and the file that --config names. Help goes to stdout. An
// error is one line about the usage. Whether the values are good, Validate tells.
func Parse(args []string, host Host, stdout io.Writer) (*Invocation, error) {
	return parseWith(args, host, stdout)
}

// Fallback is the configuration of an extension whose settings are bad: the defaults, whatever the
// environment says. With it the process can go on answering the platform.
func Fallback(host Host) (*Config, error) {
	ignore := kong.PostBuild(func(k *kong.Kong) error {
		return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
			if f, ok := node.(*kong.Flag); ok {
				f.Envs, f.Tag.Envs = nil, nil
			}
			return next(nil)
		})
	})
	inv, err := parseWith([]string{string(Extension)}, host, io.Discard, ignore)
	if err != nil {
		return nil, err
	}
	return inv.Config, nil
}

func parseWith(args []string, host Host, stdout io.Writer, more ...kong.Option) (*Invocation, error) {
	var g grammar
	var serve serveCommand
	var extension extensionCommand
	var check checkCommand
	var spool spoolCommand
	var o outcome
	var file yamlFile
	word := ""
	if len(args) > 0 {
		word = args[0]
	}
	checks := Serve
	if word == "check" && slices.Contains(args, "--extension") {
		checks = Extension
	}
	tags := func(cmd Command) []string { return defaultTags(commandDefaults(cmd, host)) }
	options := append([]kong.Option{
		kong.Name("ingest"),
		kong.Description("Takes telemetry over HTTP and puts it into Kafka: nothing lost silently, nothing twice."),
		kong.DynamicCommand("serve", "Run as an HTTP listener.", "", onlyIf(word == "serve", &serve), tags(Serve)...),
		kong.DynamicCommand("extension", "Run as an extension of a FunctionGraph function.", "", onlyIf(word == "extension", &extension), tags(Extension)...),
		kong.DynamicCommand("check", "Print the settings in effect and what is wrong with them.", "", onlyIf(word == "check", &check), tags(checks)...),
		kong.DynamicCommand("spool", "Look at a spool directory, take events out of it, send what is in it.", "", onlyIf(word == "spool", &spool), tags(Serve)...),
		kong.DynamicCommand("version", "Print the version.", "", &struct{}{}),
		kong.ExplicitGroups(groups()),
		kong.NamedMapper("linger", kong.MapperFunc(decodeLinger)),
		kong.Resolvers(&file),
		kong.WithBeforeResolve(file.load),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 110}),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }), // the variables: see sources
		kong.Writers(stdout, io.Discard),
		kong.Exit(func(int) { o.help = true }), // Kong's only exit without an error
		kong.Bind(&o),
	}, more...)
	parser, err := kong.New(&g, options...)
	if err != nil {
		return nil, fmt.Errorf("the grammar of the command line is broken: %w", err)
	}
	ctx, err := parser.Parse(args)
	switch {
	case o.help:
		return &Invocation{}, nil
	case o.version:
		return &Invocation{Command: "version"}, nil
	case err != nil:
		return nil, usageError(err, args)
	}
	inv := &Invocation{Command: words(ctx.Command()), Markdown: check.Markdown}
	switch inv.Command {
	case "serve":
		inv.Config = (*Config)(&serve.Settings)
		inv.Config.command = Serve
	case "extension":
		inv.Config = (*Config)(&extension.Settings)
		inv.Config.command = Extension
	case "check":
		inv.Config = (*Config)(&check.Settings)
		inv.Config.command = checks
	case "spool replay":
		inv.Spool, inv.Config = &SpoolOptions{Timeout: spool.Replay.Timeout}, (*Config)(&spool.Replay.Settings)
		inv.Config.command = Serve
		inv.Config.replay(spool.Replay.Timeout)
	case "spool ls", "spool verify", "spool export":
		if inv.Spool, err = spool.options(inv.Command, time.Now()); err != nil {
			return nil, usageError(err, args)
		}
		return inv, nil
	default:
		return inv, nil
	}
	inv.Config.derive(host)
	return inv, nil
}

// onlyIf gives Kong the flags of the command that is called and none of the others: reading the tags of
// all settings takes a millisecond, which an extension's start has no time for.
func onlyIf(called bool, command any) any {
	if called {
		return command
	}
	return &struct{}{}
}

// usageError says what is wrong and where the help is, in one line.
func usageError(err error, args []string) error {
	help := "ingest --help"
	for _, a := range args {
		if a == "serve" || a == "extension" || a == "check" || a == "spool" {
			help = "ingest " + a + " --help"
			break
		}
	}
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	if flag, _, ends := strings.Cut(text, ": expected "); ends && strings.HasSuffix(text, `got "EOL" (<EOL>)`) {
		text = flag + ": needs a value"
	}
	return fmt.Errorf("%s (see %s)", text, help)
}

// defaultTags passes a command's defaults to Kong, which puts them where the tags say ${…}.
func defaultTags(defaults map[string]string) []string {
	tags := make([]string, 0, len(defaults))
	for name, value := range defaults {
		tags = append(tags, fmt.Sprintf("set:%q", name+"="+value))
	}
	return tags
}

func groups() []kong.Group {
	return []kong.Group{
		{Key: "general", Title: "General:"},
		{Key: "intake", Title: "Taking telemetry:"},
		{Key: "delivery", Title: "Delivering events:"},
		{Key: "extension", Title: "As an extension (ingest extension):"},
		{Key: "memory", Title: "Memory and disk:"},
		{Key: "security", Title: "TLS and login to the brokers:"},
	}
}

// decodeLinger reads a duration or auto.
func decodeLinger(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	if text == "auto" {
		target.SetInt(int64(lingerAuto))
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("expected a duration, for example 5ms, or auto, but got %q", text)
	}
	target.SetInt(int64(d))
	return nil
}
