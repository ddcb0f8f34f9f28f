package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Invocation is a parsed command line.
type Invocation struct {
	Command  string        // serve, extension, check, spool ls|verify|export|replay, version, or "" when help was printed and nothing is left to do
	Config   *Config       // of serve, extension, check and spool replay
	Markdown bool          // check: print the table of all settings instead
	Spool    *SpoolOptions // of the spool commands
}

// Parse reads a command line, the environment and the file that --config names. Help goes to stdout. An
// error is one line about the usage. Whether the values are good, Validate tells.
func Parse(args []string, host Host, stdout io.Writer) (*Invocation, error) {
	return parseWith(args, host, stdout, os.LookupEnv)
}

// Fallback is the configuration of an extension whose settings are bad: the defaults, whatever the
// environment says. With it the process can go on answering the platform.
func Fallback(host Host) (*Config, error) {
	nothing := func(string) (string, bool) { return "", false }
	inv, err := parseWith([]string{string(Extension)}, host, io.Discard, nothing)
	if err != nil {
		return nil, err
	}
	return inv.Config, nil
}

func parseWith(args []string, host Host, stdout io.Writer, lookup func(string) (string, bool)) (*Invocation, error) {
	cmd, args := findCommand(args)
	inv, err := cmd.parse(args, host, stdout, lookup)
	if err != nil {
		// What is wrong and where the help is, in one line.
		name := strings.Join(strings.Fields("ingest "+cmd.name+" --help"), " ")
		return nil, fmt.Errorf("%s (see %s)", strings.ReplaceAll(err.Error(), "\n", " "), name)
	}
	return inv, nil
}

func (c *command) parse(args []string, host Host, stdout io.Writer, lookup func(string) (string, bool)) (*Invocation, error) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	var o options
	o.addTo(flags, c.name)
	cfg := &Config{}
	var values []*value
	if c.settings {
		for _, f := range cfg.fields() {
			values = append(values, &value{field: &f})
			values[len(values)-1].addTo(flags)
		}
	}
	if name := swallowed(args, flags); name != "" {
		return nil, fmt.Errorf("--%s: needs a value; one that begins with dashes goes behind =", name)
	}
	if err := flags.Parse(args); err != nil {
		return nil, flagError(err, flags)
	}
	cfg.command = Serve
	if c.name == string(Extension) || bool(o.extension) {
		cfg.command = Extension
	}
	setDefaults(values, flags, commandDefaults(cfg.command, host))
	switch {
	case bool(o.help):
		return &Invocation{}, writeHelp(stdout, c, flags)
	case bool(o.version):
		return &Invocation{Command: "version"}, nil
	}
	if err := c.checkArguments(flags.Args()); err != nil {
		return nil, err
	}
	if c.settings {
		if err := cfg.fill(values, lookup); err != nil {
			return nil, err
		}
	}
	return c.invocation(cfg, &o, flags.Args(), host)
}

// fill takes what the command line leaves open from the environment, then from the file, whose name may have
// come from there.
func (c *Config) fill(values []*value, lookup func(string) (string, bool)) error {
	if err := fromEnvironment(values, lookup); err != nil {
		return err
	}
	file, err := loadYAML(c.ConfigFile)
	if err != nil {
		return err
	}
	return fromFile(values, file, c.ConfigFile)
}

// invocation is the parsed command for its caller.
func (c *command) invocation(cfg *Config, o *options, args []string, host Host) (*Invocation, error) {
	inv := &Invocation{Command: c.name, Markdown: bool(o.markdown)}
	if strings.HasPrefix(c.name, "spool ") {
		inv.Spool = &o.spool
		o.spool.JSON, o.spool.WithMeta = bool(o.json), bool(o.withMeta)
		if len(args) > 0 {
			o.spool.Dir = args[0]
		}
		var err error
		if o.spool.Since, err = parseSince(o.since, time.Now()); err != nil {
			return nil, err
		}
	}
	if !c.settings {
		return inv, nil
	}
	inv.Config = cfg
	if c.name == "spool replay" {
		cfg.replay(o.spool.Timeout)
	}
	cfg.derive(host)
	return inv, nil
}

// checkArguments looks at what is no flag: a group needs a command, spool's commands need a directory.
func (c *command) checkArguments(args []string) error {
	if c.isGroup() {
		var names []string
		for _, child := range c.children() {
			names = append(names, child.name[strings.LastIndexByte(child.name, ' ')+1:])
		}
		if len(args) > 0 {
			return fmt.Errorf("unexpected argument %s%s", args[0], didYouMean(args[0], names))
		}
		return fmt.Errorf("expected one of \"%s\"", strings.Join(names, `", "`))
	}
	takes := len(strings.Fields(c.args))
	if len(args) > takes {
		return fmt.Errorf("unexpected argument %s", args[takes])
	}
	if len(args) < takes {
		return errors.New(`expected "<dir>"`)
	}
	return nil
}
