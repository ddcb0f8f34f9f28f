package config

import (
	"fmt"
	"strings"
	"time"
)

// SpoolOptions are the flags of the commands that look at a spool directory. They are no settings: neither
// the environment nor a file gives them.
type SpoolOptions struct {
	Dir        string
	JSON       bool      // ls
	Topics     []string  // export, as those below
	Partitions []int32   //
	Since      time.Time // zero: all
	Output     string    // "": stdout
	WithMeta   bool
}

type spoolCommand struct {
	Ls struct {
		Dir  string `arg:"" help:"The spool directory: a copy, or one that is in use."`
		JSON bool   `name:"json" help:"Print JSON."`
	} `cmd:"" help:"Show partitions, sizes, ages, damage, quarantine and set-aside files."`
	Verify struct {
		Dir string `arg:"" help:"The spool directory: a copy, or one that is in use."`
	} `cmd:"" help:"Read everything and name what is damaged. Exit code 0: nothing; 1: it could not be read; 3: something."`
	Export struct {
		Dir       string   `arg:"" help:"The spool directory: a copy, or one that is in use."`
		Topic     []string `name:"topic" help:"Only these topics; a dead-letter topic only if it is named."`
		Partition []int32  `name:"partition" help:"Only these partitions."`
		Since     string   `name:"since" placeholder:"AGE|TIME" help:"Only records of this age at most (2h) or from this time on (RFC 3339)."`
		Output    string   `name:"output" placeholder:"FILE" help:"New file to write to; default: stdout."`
		WithMeta  bool     `name:"with-meta" help:"Lines with topic, partition, key, timestamp, headers and value."`
	} `cmd:"" help:"Write the events that are still to be sent, one line each. Exit code 3: damaged ones were passed over."`
}

// options are those of the command that was called.
func (c *spoolCommand) options(command string, now time.Time) (*SpoolOptions, error) {
	switch command {
	case "spool ls":
		return &SpoolOptions{Dir: c.Ls.Dir, JSON: c.Ls.JSON}, nil
	case "spool verify":
		return &SpoolOptions{Dir: c.Verify.Dir}, nil
	}
	e := &c.Export
	since, err := parseSince(e.Since, now)
	return &SpoolOptions{Dir: e.Dir, Topics: e.Topic, Partitions: e.Partition, Since: since, Output: e.Output, WithMeta: e.WithMeta}, err
}

func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("--since: %q is neither an age like 2h nor a time like 2026-01-02T15:04:05Z", s)
	}
	return t, nil
}

// words is a command without the names of its arguments.
func words(command string) string { return strings.TrimSuffix(command, " <dir>") }
