package kafkatest

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"functiongraph-ingest/test/internal/child"
)

//go:embed log4j2.properties
var log4j []byte

// broker is one node: its directory stays from start to Close, its process comes and goes.
type broker struct {
	ports
	java    string
	jvm     []string // launcher options up to and without the main class
	config  string   // server.properties
	logFile string   // the process's output, over all restarts

	frozen atomic.Bool

	mu   sync.Mutex
	proc *child.Child // nil before the first start
}

func newBroker(o *Options, i int, all []ports, java, jars, dir string) (*broker, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	b := &broker{
		ports:   all[i],
		java:    java,
		config:  filepath.Join(dir, "server.properties"),
		logFile: filepath.Join(dir, "broker.log"),
	}
	logConfig := filepath.Join(dir, "log4j2.properties")
	b.jvm = append([]string{
		"-Xms128m", "-Xmx" + o.Heap, "-XX:+UseG1GC", "-Djava.awt.headless=true",
		"-Dlog4j2.configurationFile=" + logConfig, "-cp", filepath.Join(jars, "*"),
	}, o.JVM...)
	if err := os.WriteFile(logConfig, log4j, 0o644); err != nil {
		return nil, err
	}
	properties := serverProperties(o, i, all, filepath.Join(dir, "data"))
	return b, os.WriteFile(b.config, []byte(properties), 0o644)
}

// format prepares the data directory, once in its life.
func (b *broker) format(ctx context.Context, clusterID string) error {
	args := append([]string{}, b.jvm...)
	args = append(args, "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", b.config)
	if out, err := exec.CommandContext(ctx, b.java, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("format storage: %w: %s", err, tail(out))
	}
	return nil
}

// start runs the broker's process. It is a no-op while it runs.
func (b *broker) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.proc != nil && b.proc.Running() {
		return nil
	}
	out, err := os.OpenFile(b.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the child has its own copy
	args := append([]string{}, b.jvm...)
	cmd := exec.Command(b.java, append(args, "kafka.Kafka", b.config)...)
	cmd.Stdout, cmd.Stderr = out, out
	b.frozen.Store(false)
	b.proc, err = child.Start(cmd)
	return err
}

// answers reports whether the broker's process runs and is not frozen.
func (b *broker) answers() bool {
	p := b.process()
	return p != nil && p.Running() && !b.frozen.Load()
}

func (b *broker) process() *child.Child {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.proc
}

func (b *broker) kill() error {
	if p := b.process(); p != nil {
		return p.Kill()
	}
	return nil
}

// stop ends the broker the clean way: leadership is handed over, logs are flushed.
func (b *broker) stop(ctx context.Context) error {
	p := b.process()
	if p == nil {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_, err := p.Wait(ctx)
	return err
}

func (b *broker) signal(sig syscall.Signal) error {
	if p := b.process(); p != nil {
		return p.Signal(sig)
	}
	return nil
}

// lastWords is the end of the broker's output, for error messages.
func (b *broker) lastWords() string {
	out, _ := os.ReadFile(b.logFile)
	return tail(out)
}

func tail(out []byte) string {
	const most = 2000
	if out = bytes.TrimSpace(out); len(out) > most {
		out = out[len(out)-most:]
	}
	return string(out)
}
