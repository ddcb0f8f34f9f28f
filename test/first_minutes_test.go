package test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
)

var writePages = flag.Bool("write", false, "write what the commands of docs/first-minutes.md say into it")

// differs matches what differs from run to run. The page has … for it.
var differs = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|\b\d+(\.\d+)?(ns|µs|ms|s)\b|"(duplicatesSuppressed|possibleDuplicates)":\d+`)

// The transcript of a new user's first minutes is what the commands say: they are run one block after the other in one
// shell, against a real broker. They are given free ports, and wait where a person waits.
func TestFirstMinutes(t *testing.T) {
	k := kafka(t)
	if _, err := exec.LookPath("kcat"); err != nil {
		kafkatest.Unavailable(t, kafkatest.ErrUnavailable)
	}
	root, err := filepath.Abs("..")
	must(t, err)
	page := filepath.Join(root, "docs/first-minutes.md")
	raw, err := os.ReadFile(page)
	must(t, err)

	listen, admin, wrong := free(t), free(t), free(t)
	_, port, _ := strings.Cut(listen, ":")
	topic := "first" + port // for -count
	there := strings.NewReplacer("localhost:9092", k.Bootstrap(), "localhost:9093", wrong, "127.0.0.1:8080", listen, "127.0.0.1:9180", admin, " telemetry", " "+topic,
		"make build", "make -s -C "+root+" build", "bin/ingest serve", "rm -f ingest.log; "+root+"/bin/ingest serve", "bin/ingest", root+"/bin/ingest",
		"2> ingest.log &", "2> ingest.log &\nuntil grep -qs serving ingest.log; do sleep 0.1; done",
		"curl ", "curl -sS --max-time 60 ", "sleep 3", "until grep -q 'do not reach' ingest.log; do sleep 0.1; done")
	back := strings.NewReplacer(k.Bootstrap(), "localhost:9092", wrong, "localhost:9093", listen, "127.0.0.1:8080", admin, "127.0.0.1:9180", topic, "telemetry")

	const mark = "-- the end of a block --"
	var script strings.Builder
	parts := strings.Split(string(raw), "```sh\n")
	for _, part := range parts[1:] {
		commands, _, _ := strings.Cut(part, "```")
		fmt.Fprintf(&script, "%s\necho '%s'\n", there.Replace(commands), mark)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // of a loop that waits for a line that never comes
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.WaitDelay = time.Minute
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "INGEST_LISTEN="+listen, "INGEST_ADMIN="+admin)
	out, err := cmd.CombinedOutput()
	said := strings.Split(string(out), mark+"\n")
	if err != nil || len(said) != len(parts) {
		t.Fatalf("%v\n%s", err, out)
	}

	now := parts[0]
	for i, part := range parts[1:] {
		commands, rest, _ := strings.Cut(part, "```text\n")
		_, rest, ok := strings.Cut(rest, "```")
		if !ok {
			t.Fatalf("no text follows the commands\n%s", commands)
		}
		now += "```sh\n" + commands + "```text\n" + differs.ReplaceAllString(back.Replace(said[i]), "…") + "```" + rest
	}
	if *writePages {
		must(t, os.WriteFile(page, []byte(now), 0o644))
		return
	}
	is, was := strings.Split(now, "\n"), strings.Split(string(raw), "\n")
	for i := range max(len(is), len(was)) {
		if i >= len(is) || i >= len(was) || is[i] != was[i] {
			t.Fatalf("docs/first-minutes.md differs from line %d on; the commands say\n%s", i+1, now)
		}
	}
}
