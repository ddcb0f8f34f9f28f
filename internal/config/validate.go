package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Problems is everything that is wrong with a Config, one line each.
type Problems []string

// Error is all lines.
func (p Problems) Error() string { return strings.Join(p, "\n") }

// problem is one line: the setting, its value, what would be right.
func problem(setting string, value any, want string) string {
	text := fmt.Sprint(value)
	if d, ok := value.(time.Duration); ok {
		text = durationText(d)
	}
	if text = shownAs(setting, text); text == "" {
		return fmt.Sprintf("--%s: %s", setting, want)
	}
	const longest = 300
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		text = strconv.Quote(text)
	}
	return fmt.Sprintf("--%s=%s: %s", setting, text, want)
}

func (p *Problems) add(setting string, value any, want string) {
	*p = append(*p, problem(setting, value, want))
}

// Warnings is what is odd about the settings and does not keep them from being used, one line each.
func (c *Config) Warnings() []string { return slices.Concat(c.warnings, c.unguarded()) }

// Validate finds all problems at once. The error is nil or Problems.
func (c *Config) Validate() error {
	p := Problems(slices.Clone(c.found))
	if c.unread {
		return p
	}
	c.checkWords(&p)
	c.checkAddresses(&p)
	beyond := c.checkBounds(&p)
	// What follows from a setting that is beyond its bounds would only repeat it.
	good := func(settings ...string) bool {
		return !slices.ContainsFunc(settings, func(name string) bool { return slices.Contains(beyond, name) })
	}
	c.checkKafka(&p)
	c.checkTags(&p)
	c.checkKey(&p)
	c.checkSecurity(&p)
	c.checkGuards(&p)
	c.checkExtension(&p)
	c.checkSpool(&p)
	if good("linger", "ack-timeout") {
		c.checkTimes(&p)
	}
	if good("max-body", "batch-bytes", "buffer-bytes", "max-conns", "ring-items", "memory-limit") {
		c.checkMemory(&p)
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

// checkWords compares settings of a fixed vocabulary with it.
func (c *Config) checkWords(p *Problems) {
	for _, f := range c.fields() {
		if f.oneof != nil && !slices.Contains(f.oneof, f.value.String()) {
			p.add(f.name, f.value.String(), "must be one of "+strings.Join(f.oneof, ", "))
		}
	}
}

// checkTimes looks at durations that do not go together.
func (c *Config) checkTimes(p *Problems) {
	if c.Linger >= c.AckTimeout && c.Ack != AckAccept {
		p.add("linger", c.Linger, "must be shorter than --ack-timeout="+durationText(c.AckTimeout)+", or every delivery times out")
	}
}

func (c *Config) checkSpool(p *Problems) {
	if c.SpoolDir == "" {
		p.add("spool-dir", "", "must be a directory, or off")
	}
	if !c.Spools() && c.Ack == AckDisk {
		p.add("ack", c.Ack, "needs --spool-dir and --sink=kafka; or use kafka or accept")
	}
}

// LeastSpool is the least bound of a spool into which every event of a body of maxBody bytes can be written,
// in whole MiB. A record is at most twice its body: the value is the event, and the key, its traceId, may be
// nearly all of that. A spool keeps an eighth, at most 2 MiB, to frames that replace others.
func LeastSpool(maxBody Bytes) Bytes {
	const around = 8 * KiB // the heads of segment, frame, batch and record, a dead letter's headers
	frame := 2*maxBody + around
	return (min(frame*8/7, frame+2*MiB)/MiB + 1) * MiB
}

// Spools reports whether there is a disk queue.
func (c *Config) Spools() bool { return c.SpoolDir != Off && c.Sink == SinkKafka && !c.spoolOut }

// checkMemory looks at sizes that do not go together; each is within its bounds.
func (c *Config) checkMemory(p *Problems) {
	if c.BufferBytes < batchesInBuffers*c.BatchBytes {
		p.add("buffer-bytes", c.BufferBytes, fmt.Sprintf("must hold at least %d batches of --batch-bytes=%s, that is %s",
			batchesInBuffers, c.BatchBytes, batchesInBuffers*c.BatchBytes))
		return // the sums would only repeat it
	}
	b, err := c.Budget()
	if err != nil {
		p.add("memory-limit", c.MemoryLimit, "too small: "+err.Error())
		return
	}
	if c.SpoolMax < MiB || !c.Spools() { // 0, or reported already
		return
	}
	if least := 2 * c.BatchBytes; c.SpoolMax < least {
		p.add("spool-max", c.SpoolMax, fmt.Sprintf("must be at least two batches of --batch-bytes=%s, or 0 to derive it", c.BatchBytes))
		return
	}
	// An extension raises it instead (cmd/ingest/disk.go): it must not drop everything for that.
	if least := LeastSpool(b.MaxBody); !c.replays && c.command != Extension && c.SpoolMax < least {
		p.add("spool-max", c.SpoolMax, fmt.Sprintf("must be at least %s, to hold the largest event of --max-body=%s with a key of that size; or 0 to derive it",
			least, b.MaxBody))
	}
}
