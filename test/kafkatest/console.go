package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ConsoleLine is how [Cluster.Console] prints a record.
func (m *Message) ConsoleLine() string {
	key := "null"
	if m.Key != nil {
		key = string(m.Key)
	}
	return fmt.Sprintf("CreateTime:%d\t%s\t%s", m.Timestamp, key, m.Value)
}

// Console reads n records of the topics that match a regular expression with Kafka's own console consumer, of the
// version of the brokers. It returns a line for each record, as [Message.ConsoleLine] has it, in no order. Keys and
// values must be text without a newline.
func (c *Cluster) Console(ctx context.Context, topics string, n int) ([]string, error) {
	java, err := java()
	if err != nil {
		return nil, err
	}
	jars, err := jars(ctx, c.version)
	if err != nil {
		return nil, err
	}
	class, which := "org.apache.kafka.tools.consumer.ConsoleConsumer", "--include"
	if c.old || strings.HasPrefix(c.version, "3.5.") {
		class = "kafka.tools.ConsoleConsumer"
	}
	if c.old {
		which = "--whitelist"
	}
	args := []string{"-Xmx256m", "-cp", filepath.Join(jars, "*"), class, "--bootstrap-server", c.Bootstrap(), which, topics,
		"--from-beginning", "--max-messages", strconv.Itoa(n), "--timeout-ms", strconv.Itoa(int(requestTimeout.Milliseconds()))}
	for _, property := range []string{"print.timestamp=true", "print.key=true"} {
		args = append(args, "--property", property)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, java, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("console consumer: %w: %s", err, tail(stderr.Bytes()))
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "CreateTime:") { // the others are log lines
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(lines) != n {
		return nil, fmt.Errorf("the console consumer has read %d records, want %d: %s", len(lines), n, tail(stderr.Bytes()))
	}
	return lines, nil
}
