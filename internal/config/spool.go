package config

import (
	"fmt"
	"strings"
	"time"
)

// SpoolOptions are the flags of the spool commands. They are no settings: neither the environment nor a
// file gives them.
type SpoolOptions struct {
	Dir        string
	JSON       bool      // ls
	Topics     []string  // export, as those below
	Partitions []int32   //
	Since      time.Time // zero: all
	Output     string    // "": stdout
	WithMeta   bool
	Timeout    time.Duration // replay; 0: none
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
	Replay replayCommand `cmd:"" help:"Send what is in --spool-dir to Kafka, and end. Exit code 0: the spool is empty; 1: something is left; 3: something is lost or damaged."`
}

type replayCommand struct {
	Timeout  time.Duration `name:"timeout" group:"general" help:"Longest time to send, then what is left stays in the spool; 0: as long as it takes."`
	Settings settings      `embed:""`
}

// Help is what the help of the command says below its first line.
func (replayCommand) Help() string {
	return sources + " Those for taking telemetry mean nothing here, but --shutdown-timeout."
}

// replay fits settings that may be those of a serve to a process that nobody sends anything to.
func (c *Config) replay(timeout time.Duration) {
	c.Ack, c.SpoolFull = AckAccept, SpoolFullBlock // nobody waits, and nothing is dropped to make room
	if c.SpoolDir == Off {
		c.underived = append(c.underived, problem("spool-dir", c.SpoolDir, "must be the directory to send from"))
	}
	if c.Sink != SinkKafka {
		c.underived = append(c.underived, problem("sink", c.Sink, "must be kafka: a spool is sent nowhere else"))
	}
	if timeout < 0 {
		c.underived = append(c.underived, problem("timeout", timeout, "must not be negative; 0 is as long as it takes"))
	}
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
