package test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"functiongraph-ingest/test/kafkatest"
)

// The commands of a page for a Kafka of one's own do what the page says they do. They are given free ports, and the
// client waits until ingest listens, as somebody who types does.
func TestCommandsOfThePages(t *testing.T) {
	k := kafka(t)
	if _, err := exec.LookPath("kcat"); err != nil {
		kafkatest.Unavailable(t, kafkatest.ErrUnavailable)
	}
	root, err := filepath.Abs("..")
	must(t, err)
	for _, page := range []string{"README.md", "docs/dead-letters.md", "docs/consuming.md"} {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, page))
			must(t, err)
			_, after, ok := strings.Cut(string(text), "<!-- run by test/readme_test.go")
			commands, after, ok2 := cutBlock(after, "sh")
			said, _, ok3 := cutBlock(after, "text")
			if !ok || !ok2 || !ok3 {
				t.Fatal("the page has no such block")
			}
			listen, admin := free(t), free(t)
			_, port, _ := strings.Cut(listen, ":")
			topics := strings.NewReplacer(" telemetry", " telemetry"+port, "orders", "orders"+port) // for -count
			script := strings.NewReplacer(
				"localhost:9092", k.Bootstrap(), "127.0.0.1:8080", listen, "make build", "make -s -C "+root+" build", "bin/ingest", root+"/bin/ingest",
				"curl ", "curl -sS --max-time 60 --retry 60 --retry-connrefused --retry-delay 1 ", "kill %1", "kill %1\nwait %1",
			).Replace(topics.Replace(commands))
			cmd := exec.CommandContext(t.Context(), "bash", "-e", "-m", "-c", script)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "INGEST_LISTEN="+listen, "INGEST_ADMIN="+admin)
			out, err := cmd.CombinedOutput()
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
