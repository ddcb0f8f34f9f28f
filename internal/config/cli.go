package config

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Invocation is a parsed command line.
type Invocation struct {
	Command  string         // serve, extension, check, top, spool ls|verify|export|replay, version, or "" when help was printed and nothing is left to do
	Config   *Config        // of serve, extension, check and spool replay
	Markdown bool           // check: print the table of all settings instead
	Offline  bool           // check: the settings only
	JSON     bool           // check, version
	Shell    string         // completion
	Spool    *SpoolOptions  // of the spool commands
	Top      *TopOptions    // of top
	Range    Range          // of audit and the dlq commands
	Letters  *LetterOptions // of the dlq commands
}

// Parse reads a command line, the environment and the file that --config names. Help goes to stdout. An
// error is about the usage of a command that takes no settings; it is Problems, a line each. What is wrong with
// settings is left for [Config.Validate], which reports all of it at once.
func Parse(args []string, host Host, stdout io.Writer) (*Invocation, error) {
	return parseWith(args, host, stdout, environmentOf(os.Environ()))
}

// Fallback is the configuration of an extension whose settings are bad: the defaults, whatever the
// environment says. With it the process can go on answering the platform.
func Fallback(host Host) (*Config, error) {
	inv, err := parseWith([]string{string(Extension)}, host, io.Discard, nil)
	if err != nil {
		return nil, err
	}
	return inv.Config, nil
}

func parseWith(args []string, host Host, stdout io.Writer, env environment) (*Invocation, error) {
	cmd, args := findCommand(args)
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	var o options
	o.addTo(flags, cmd.name)
	cfg := &Config{sources: map[string]string{}}
	var values []*value
	if cmd.settings {
		for _, f := range cfg.fields() {
			values = append(values, &value{field: &f, config: cfg})
			values[len(values)-1].addTo(flags)
		}
	}
	args, usage := scan(args, flags)
	if err := flags.Parse(args); err != nil {
		usage = append(usage, flagError(err).Error())
	}
	cfg.command = Serve
	if cmd.name == string(Extension) || bool(o.extension) {
		cfg.command = Extension
	}
	setDefaults(values, flags, commandDefaults(cfg.command, host))
	switch {
	case bool(o.help):
		return &Invocation{}, writeHelp(stdout, &cmd, flags)
	case bool(o.version):
		return &Invocation{Command: "version"}, nil
	}
	if err := cmd.checkArguments(flags.Args()); err != nil && (len(usage) == 0 || cmd.settings) {
		usage = append(usage, err.Error())
	}
	inv, err := cmd.invocation(cfg, &o, flags.Args())
	if err != nil {
		usage = append(usage, err.Error())
	}
	for i := range usage { // what is wrong and where the help is, in one line
		usage[i] += " (see " + strings.Join(strings.Fields("ingest "+cmd.name+" --help"), " ") + ")"
	}
	if !cmd.settings && len(usage) > 0 {
		return nil, Problems(usage)
	}
	if cmd.settings {
		cfg.found = slices.Concat(usage, cfg.found)
		cfg.fill(values, env)
		if cmd.name == "spool replay" {
			cfg.replay(o.spool.Timeout)
		}
		cfg.derive(host)
	}
	return inv, nil
}

// fill takes what the command line leaves open from the environment, in an extension then from RUNTIME_USERDATA, then
// from the file, whose name may have come from there.
func (c *Config) fill(values []*value, env environment) {
	c.warnings = unknownVariables(env)
	c.fromEnvironment(values, env, "")
	if c.command == Extension {
		within, warnings := userData(env[userDataVariable])
		c.warnings = append(c.warnings, warnings...)
		c.fromEnvironment(values, within, userDataVariable)
	}
	file, problems, err := loadYAML(c.ConfigFile)
	if err != nil {
		c.found, c.unread = append(c.found, err.Error()), true
		return
	}
	c.found = append(c.found, problems...)
	c.fromFile(values, file, c.ConfigFile)
}

// invocation is the parsed command for its caller.
func (c *command) invocation(cfg *Config, o *options, args []string) (*Invocation, error) {
	inv := &Invocation{Command: c.name, Markdown: bool(o.markdown), Offline: bool(o.offline), JSON: bool(o.json)}
	if c.settings {
		inv.Config = cfg
	}
	o.top.Once = bool(o.once)
	if c.name == "top" {
		inv.Top = &o.top
	}
	if c.name == "audit" || strings.HasPrefix(c.name, "dlq ") {
		var problem error
		inv.Range, problem = o.window(time.Now())
		o.letters.DryRun = bool(o.dryRun)
		inv.Letters = &o.letters
		return inv, problem
	}
	if c.name == "completion" && len(args) > 0 {
		if inv.Shell = args[0]; !slices.Contains(shells(), inv.Shell) {
			return inv, errors.New("expected bash, zsh or fish")
		}
	}
	if !strings.HasPrefix(c.name, "spool ") {
		return inv, nil
	}
	inv.Spool = &o.spool
	o.spool.JSON, o.spool.WithMeta = bool(o.json), bool(o.withMeta)
	if len(args) > 0 && !c.settings {
		o.spool.Dir = args[0]
	}
	var err error
	o.spool.Since, err = parseSince("since", o.since, time.Now())
	return inv, err
}
