package test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
)

// The commands of a page for a Kafka of one's own do what the page says they do. They are given free ports, and the
// client waits until ingest listens, as somebody who types does.
func TestCommandsOfThePages(t *testing.T) {
	k := kafka(t)
	for _, page := range []string{"README.md", "docs/dead-letters.md", "docs/consuming.md"} {
		t.Run(page, func(t *testing.T) {
			u := newUser(t, k)
			text, err := os.ReadFile(filepath.Join(u.root, page))
			must(t, err)
			_, after, ok := strings.Cut(string(text), "<!-- run by test/readme_test.go")
			commands, after, ok2 := cutBlock(after, "sh")
			said, _, ok3 := cutBlock(after, "text")
			if !ok || !ok2 || !ok3 {
				t.Fatal("the page has no such block")
			}
			topics := strings.NewReplacer(" telemetry", " telemetry"+u.port(), "orders", "orders"+u.port()) // for -count
			script := u.commands(
				"curl ", "curl -sS --max-time 60 --retry 60 --retry-connrefused --retry-delay 1 ", "kill %1", "kill %1\nwait %1",
			).Replace(topics.Replace(commands))
			out, err := u.run(t.Context(), "-e", "-m", "-c", script)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for line := range strings.Lines(topics.Replace(said)) {
				line = strings.TrimSpace(line)
				if !regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `[^\n]*`)).Match(out) {
					t.Errorf("the page promises %q; the commands wrote\n%s", line, out)
				}
			}
		})
	}
}

// user types what a page says, in a folder and with ports of its own.
type user struct{ root, dir, kafka, listen, admin string }

func newUser(t *testing.T, k *kafkatest.Cluster) user {
	t.Helper()
	if _, err := exec.LookPath("kcat"); err != nil {
		kafkatest.Unavailable(t, kafkatest.ErrUnavailable)
	}
	root, err := filepath.Abs("..")
	must(t, err)
	return user{root, t.TempDir(), k.Bootstrap(), free(t), free(t)}
}

// port is that of the listener: a part of names that differ from run to run.
func (u user) port() string { return u.listen[strings.LastIndexByte(u.listen, ':')+1:] }

// commands makes what is run of what a page says: its addresses and its programs, after the pairs that are given.
func (u user) commands(pairs ...string) *strings.Replacer {
	return strings.NewReplacer(append(pairs, "localhost:9092", u.kafka, "127.0.0.1:8080", u.listen, "127.0.0.1:9180", u.admin,
		"make build", "make -s -C "+u.root+" build", "bin/ingest", u.root+"/bin/ingest")...)
}

// run runs bash and returns what it wrote.
func (u user) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "bash", args...)
	cmd.WaitDelay = time.Minute
	cmd.Dir = u.dir
	cmd.Env = append(os.Environ(), "INGEST_LISTEN="+u.listen, "INGEST_ADMIN="+u.admin)
	return cmd.CombinedOutput()
}

// free returns an address of loopback that nothing uses.
func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// cutBlock returns the first fenced block of a language in text, and what stands behind it.
func cutBlock(text, language string) (block, after string, ok bool) {
	_, text, ok = strings.Cut(text, "```"+language+"\n")
	block, after, ok2 := strings.Cut(text, "```")
	return block, after, ok && ok2
}
