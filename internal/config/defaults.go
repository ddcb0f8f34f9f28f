package config

import (
	"fmt"
	"strings"
	"time"
)

// Command is a way to run ingest that takes settings.
type Command string

// The commands whose defaults differ. check uses those of the command it checks.
const (
	Serve     Command = "serve"
	Extension Command = "extension"
)

// commandDefaults is the one place for defaults that differ by command. The keys are what Config's tags
// call ${…}.
func commandDefaults(cmd Command, host Host) map[string]string {
	if cmd == Extension {
		return map[string]string{
			"listen":           "127.0.0.1:8081-8090",
			"admin":            Off,
			"ack":              AckAccept,
			"memory_limit":     extensionMemory(host.MemoryBytes).String(),
			"shutdown_timeout": "2s", // the platform's grace is short
			"keyless":          KeylessInstance,
			"spool_dir":        DefaultSpool(host), // all that an instance has
		}
	}
	return map[string]string{
		"listen":           "127.0.0.1:8080",
		"admin":            "127.0.0.1:9180",
		"ack":              AckKafka,
		"memory_limit":     "64MiB",
		"shutdown_timeout": "20s",
		"keyless":          KeylessSticky,
		"spool_dir":        Off,
	}
}

// DefaultSpool is the spool directory of an extension. It is the same at each start, so that a restart finds what is
// in it, and one per user, because /tmp is everybody's.
func DefaultSpool(host Host) string { return fmt.Sprintf("/tmp/ingest-spool-%d", host.UID) }

// extensionMemory is what an extension may take of an instance's memory (0: not known): most of it
// belongs to the user's function.
func extensionMemory(instance int64) Bytes {
	const least, most = 32 * MiB, 64 * MiB
	if instance <= 0 {
		return most
	}
	quarter := Bytes(instance) / 4 / MiB * MiB
	return min(max(quarter, least), most)
}

// lingerAuto stands for --linger=auto until derive replaces it: 0 and negative values are the user's.
const lingerAuto time.Duration = -1 << 63

// saslDefault is the mechanism of --sasl: the strongest, and the password never leaves the process.
const saslDefault = "SCRAM-SHA-512"

const (
	lingerNobodyWaits = 20 * time.Millisecond // a request costs about as much CPU as 100 events: few of them
	lingerForAck      = time.Millisecond      // a client waits for the answer
)

// derive fills what follows from other settings, from files and from the host. What is wrong is left for
// Validate, so that a user sees all problems at once.
func (c *Config) derive(host Host) {
	c.descriptors = host.Descriptors
	if c.Linger == lingerAuto {
		c.Linger = lingerForAck // also for the disk's: a group for fdatasync forms meanwhile
		if c.Ack == AckAccept {
			c.Linger = lingerNobodyWaits
		}
	}
	if c.DeadLetterTopic == "" && c.Topic != "" {
		c.DeadLetterTopic = c.Topic + ".dlq"
	}
	if c.Instance == "" {
		c.Instance = host.Name
	}
	c.deriveSASL()
}

// deriveSASL fills mechanism, user and password from --sasl or --sasl-password-file.
func (c *Config) deriveSASL() {
	if c.SASL != "" {
		user, password, ok := strings.Cut(c.SASL.Reveal(), ":")
		switch {
		case c.SASLUser != "" || c.SASLPassword != "" || c.SASLPasswordFile != "":
			c.found = append(c.found, problem("sasl", "", "give either it or --sasl-user with a password, not both"))
		case !ok || user == "" || password == "":
			c.found = append(c.found, problem("sasl", "", "must be user:password")) // what it is stays secret
		default:
			c.SASL, c.SASLUser, c.SASLPassword = "", user, Secret(password)
			c.sources["sasl-user"], c.sources["sasl-password"] = c.sources["sasl"], c.sources["sasl"]
			delete(c.sources, "sasl")
			if c.SASLMechanism == Off {
				c.SASLMechanism = saslDefault
			}
		}
		return
	}
	if c.SASLPasswordFile == "" {
		return
	}
	if c.SASLPassword != "" {
		c.found = append(c.found, problem("sasl-password-file", c.SASLPasswordFile, "give either it or --sasl-password, not both"))
		return
	}
	secret, err := readSecret(c.SASLPasswordFile)
	if err != nil {
		c.found = append(c.found, problem("sasl-password-file", c.SASLPasswordFile, "must be a file that holds the password: "+err.Error()))
		return
	}
	c.SASLPassword = secret
}
