package test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var writePages = flag.Bool("write", false, "write what the commands of docs/first-minutes.md say into it")

// differs matches what differs from run to run. The page has … for it.
var differs = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|\b\d+(\.\d+)?(ns|µs|ms|s)\b|"(duplicatesSuppressed|possibleDuplicates)":\d+`)

// The transcript of a new user's first minutes is what the commands say: they are run one block after the other in one
// shell, against a real broker. They are given free ports, and wait where a person waits.
func TestFirstMinutes(t *testing.T) {
	u := newUser(t, kafka(t))
	page := filepath.Join(u.root, "docs/first-minutes.md")
	raw, err := os.ReadFile(page)
	must(t, err)

	wrong := free(t)
	topic := "first" + u.port() // for -count
	there := u.commands("localhost:9093", wrong, " telemetry", " "+topic, "bin/ingest serve", "rm -f ingest.log; "+u.root+"/bin/ingest serve",
		"2> ingest.log &", "2> ingest.log &\nuntil grep -qs serving ingest.log; do sleep 0.1; done",
		"curl ", "curl -sS --max-time 60 ", "sleep 3", "until grep -q 'do not reach' ingest.log; do sleep 0.1; done")
	back := strings.NewReplacer(u.kafka, "localhost:9092", wrong, "localhost:9093", u.listen, "127.0.0.1:8080", u.admin, "127.0.0.1:9180", topic, "telemetry")

	const mark = "-- the end of a block --"
	var script strings.Builder
	parts := strings.Split(string(raw), "```sh\n")
	for _, part := range parts[1:] {
		commands, _, _ := strings.Cut(part, "```")
		fmt.Fprintf(&script, "%s\necho '%s'\n", there.Replace(commands), mark)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // of a loop that waits for a line that never comes
	defer cancel()
	out, err := u.run(ctx, "-c", script.String())
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
