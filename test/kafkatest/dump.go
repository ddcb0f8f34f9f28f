package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var dumped = regexp.MustCompile(`(?m)^baseOffset: .*producerId: (-?\d+) .*compresscodec: (\w+) .*isvalid: (\w+)`)

// Batch is what DumpLogSegments says about a batch in a broker's log.
type Batch struct {
	Idempotent bool // it has a producer id
	Codec      string
	Valid      bool
}

// Dump reads the files of a topic on broker i with Kafka's own DumpLogSegments, of the pinned version.
func (c *Cluster) Dump(ctx context.Context, i int, topic string) ([]Batch, error) {
	java, err := java()
	if err != nil {
		return nil, err
	}
	jars, err := jars(ctx, "")
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(c.brokers[i].config), "data", topic+"-[0-9]*", "*.log"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no files of topic %q: %w", topic, err)
	}
	out, err := exec.CommandContext(ctx, java, "-Xmx128m", "-cp", filepath.Join(jars, "*"),
		"kafka.tools.DumpLogSegments", "--deep-iteration", "--files", strings.Join(files, ",")).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("dump topic %q: %w: %s", topic, err, tail(out))
	}
	var batches []Batch
	for _, m := range dumped.FindAllSubmatch(out, -1) {
		batches = append(batches, Batch{Idempotent: string(m[1]) != "-1", Codec: string(m[2]), Valid: string(m[3]) == "true"})
	}
	return batches, nil
}

// RunSource runs a Java source file with Kafka's libraries, of the pinned version, on its class path, and returns what
// it prints to stdout.
func RunSource(ctx context.Context, file string, args ...string) (string, error) {
	java, err := java()
	if err != nil {
		return "", err
	}
	jars, err := jars(ctx, "")
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, java, append([]string{"-Xmx128m", "-cp", filepath.Join(jars, "*"), file}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", file, err, tail(stderr.Bytes()))
	}
	return string(out), nil
}
