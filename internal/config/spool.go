package config

import (
	"fmt"
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

// replay fits settings that may be those of a serve to a process that takes no deliveries.
func (c *Config) replay(timeout time.Duration) {
	c.replays = true
	c.Ack, c.SpoolFull = AckAccept, SpoolFullBlock // no client waits, and nothing is dropped to make room
	c.SpoolMaxAge = 0                              // or for its age: it was asked to be sent
	if c.SpoolDir == Off {
		c.found = append(c.found, problem("spool-dir", c.SpoolDir, "must be the directory to send from"))
	}
	if c.Sink != SinkKafka {
		c.found = append(c.found, problem("sink", c.Sink, "must be kafka: a spool is sent nowhere else"))
	}
	if timeout < 0 {
		c.found = append(c.found, problem("timeout", timeout, "must not be negative; 0 is as long as it takes"))
	}
}

// SpoolIn tells good settings that --spool-dir is on a file system in memory, by its name; "": it is on a disk. The
// error is what is wrong with that. An extension goes without the spool instead, with a warning: its events must not
// be dropped for that.
func (c *Config) SpoolIn(fileSystem string) error {
	c.inMemory = fileSystem
	if fileSystem == "" || !c.Spools() {
		return nil
	}
	what := ""
	if c.Ack == AckDisk && !c.SpoolMemory {
		what = "what --ack=disk calls durable would be lost with the machine: choose a directory on a disk, use --ack=kafka or accept, or set --spool-in-memory if it is enough to outlive the process"
	} else if _, err := c.Budget(); err != nil {
		what = err.Error()
	}
	if what == "" {
		return nil
	}
	text := problem("spool-dir", c.SpoolDir, "is in memory ("+fileSystem+"): "+what)
	if c.command != Extension {
		return Problems{text}
	}
	c.spoolOut = true
	c.warnings = append(c.warnings, text+". The spool is not used")
	return nil
}

func parseSince(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("--"+flag+": %q is neither an age like 2h nor a time like 2026-01-02T15:04:05Z", s)
	}
	return t, nil
}
