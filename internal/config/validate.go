package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
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
	if text == "" {
		return fmt.Sprintf("--%s: %s", setting, want)
	}
	return fmt.Sprintf("--%s=%s: %s", setting, text, want)
}

func (p *Problems) add(setting string, value any, want string) {
	*p = append(*p, problem(setting, value, want))
}

// Validate finds all problems at once. The error is nil or Problems.
func (c *Config) Validate() error {
	p := Problems(slices.Clone(c.underived))
	c.checkWords(&p)
	c.checkAddresses(&p)
	c.checkTimes(&p)
	c.checkCounts(&p)
	c.checkKafka(&p)
	c.checkSecurity(&p)
	c.checkExtension(&p)
	c.checkSpool(&p)
	c.checkMemory(&p)
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

func (c *Config) checkTimes(p *Problems) {
	positive := func(name string, d time.Duration) {
		if d <= 0 {
			p.add(name, d, "must be longer than 0, for example 5s")
		}
	}
	positive("ack-timeout", c.AckTimeout)
	positive("read-timeout", c.ReadTimeout)
	positive("idle-timeout", c.IdleTimeout)
	positive("shutdown-timeout", c.ShutdownTimeout)
	positive("request-timeout", c.RequestTimeout)
	positive("metadata-ttl", c.MetadataTTL)
	if c.AdmitWait < 0 {
		p.add("admit-wait", c.AdmitWait, "must not be negative; 0 refuses at once when there is no room")
	}
	switch {
	case c.Linger < 0:
		p.add("linger", c.Linger, "must not be negative; 0 sends at once")
	case c.Linger >= c.AckTimeout && c.Ack != AckAccept && c.AckTimeout > 0:
		p.add("linger", c.Linger, "must be shorter than --ack-timeout="+durationText(c.AckTimeout)+", or every delivery times out")
	}
}

// mostConns, mostDecoders and mostRingItems are far above what makes sense: they catch slips of the hand.
const (
	mostConns     = 1 << 20
	mostDecoders  = 256
	mostRingItems = 1 << 24
)

func (c *Config) checkCounts(p *Problems) {
	if c.MaxConns < 0 || c.MaxConns > mostConns {
		p.add("max-conns", c.MaxConns, fmt.Sprintf("must be from 1 to %d, or 0 to derive it from --memory-limit", mostConns))
	}
	if c.Decoders < 1 || c.Decoders > mostDecoders {
		p.add("decoders", c.Decoders, fmt.Sprintf("must be from 1 to %d", mostDecoders))
	}
	if c.RingItems < 1 || c.RingItems > mostRingItems {
		p.add("ring-items", c.RingItems, fmt.Sprintf("must be from 1 to %d", mostRingItems))
	}
	if c.TopicPartitions < 1 && c.TopicPartitions != -1 {
		p.add("topic-partitions", c.TopicPartitions, "must be at least 1, or -1 for the broker's default")
	}
}

// leastSpool holds a few segments, so that space is given back while it is in use.
const leastSpool = MiB

func (c *Config) checkSpool(p *Problems) {
	if c.SpoolDir == "" {
		p.add("spool-dir", "", "must be a directory, or off")
	}
	if !c.Spools() && c.Ack == AckDisk {
		p.add("ack", c.Ack, "needs --spool-dir and --sink=kafka; or use kafka or accept")
	}
	if c.SpoolMax != 0 && c.SpoolMax < max(leastSpool, 2*c.BatchBytes) {
		p.add("spool-max", c.SpoolMax, fmt.Sprintf("must be at least %s and two batches of --batch-bytes=%s, or 0 to derive it", leastSpool, c.BatchBytes))
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

// Spools says that there is a disk queue.
func (c *Config) Spools() bool { return c.SpoolDir != Off && c.Sink == SinkKafka }

// The bounds of --batch-bytes. A batch of less than 4 KiB costs a request for a handful of events; more
// than 64 MiB no broker takes.
const (
	leastBatch = 4 * KiB
	mostBatch  = 64 * MiB
)

func (c *Config) checkMemory(p *Problems) {
	good := true
	if c.MaxBody < 1 {
		p.add("max-body", c.MaxBody, "must be at least 1B, for example 4MiB")
		good = false
	}
	if c.BatchBytes < leastBatch || c.BatchBytes > mostBatch {
		p.add("batch-bytes", c.BatchBytes, fmt.Sprintf("must be from %s to %s", leastBatch, mostBatch))
		good = false
	}
	if c.BufferBytes < batchesInBuffers*c.BatchBytes {
		p.add("buffer-bytes", c.BufferBytes, fmt.Sprintf("must hold at least %d batches of --batch-bytes=%s, that is %s",
			batchesInBuffers, c.BatchBytes, batchesInBuffers*c.BatchBytes))
		good = false
	}
	if !good {
		return // the sums would only repeat it
	}
	b, err := c.Budget()
	if err != nil {
		p.add("memory-limit", c.MemoryLimit, "too small: "+err.Error())
		return
	}
	// An extension raises it instead (cmd/ingest/disk.go): it must not drop everything for that.
	if least := LeastSpool(b.MaxBody); c.Spools() && !c.replays && c.command != Extension && c.SpoolMax != 0 && c.SpoolMax < least {
		p.add("spool-max", c.SpoolMax, fmt.Sprintf("must be at least %s, to hold the largest event of --max-body=%s with a key of that size; or 0 to derive it",
			least, b.MaxBody))
	}
}
