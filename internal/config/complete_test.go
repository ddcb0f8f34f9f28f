package config

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/skiptest"
)

// shell finds a shell, or skips; continuous integration installs them.
func shell(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skiptest.Missing(t, "%v", err)
	}
	return path
}

// completed are the completions that tests ask each shell for, for what is typed before the cursor.
var completed = []struct {
	line string
	want []string // all of them must be there
	not  string   // and this not
}{
	{"ingest ", []string{"serve", "check", "spool", "completion", "help"}, "--ack"},
	{"ingest sp", []string{"spool"}, "serve"},
	{"ingest spool ", []string{"ls", "verify", "export", "replay"}, "serve"},
	{"ingest serve --ack", []string{"--ack", "--ack-timeout"}, "--tls"},
	{"ingest serve --ack ", []string{"accept", "disk", "kafka"}, "--tls"},
	{"ingest serve --tls --codec=s", []string{"snappy"}, "lz4"},
	{"ingest check --off", []string{"--offline"}, "--tls"},
	{"ingest spool replay --codec z", []string{"zstd"}, "lz4"},
	{"ingest completion ", []string{"bash", "zsh", "fish"}, "serve"},
	{"ingest help s", []string{"serve", "spool"}, "check"},
}

func judge(t *testing.T, line string, got, want []string, not string) {
	t.Helper()
	for i, g := range got { // --codec=snappy as fish and zsh have it
		if _, value, ok := strings.Cut(g, "="); ok && value != "" && strings.HasPrefix(g, "--") {
			got[i] = value
		}
		got[i] = strings.TrimSuffix(strings.TrimSpace(got[i]), "=")
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%q completes to %q, without %s", line, got, w)
		}
	}
	if slices.Contains(got, not) {
		t.Errorf("%q completes to %q, with %s", line, got, not)
	}
}

func TestCompletionInBash(t *testing.T) {
	bash := shell(t, "bash")
	script := filepath.Join(t.TempDir(), "ingest.bash")
	if err := os.WriteFile(script, []byte(Completion("bash")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range completed {
		var typed []string // as readline splits it: at blanks and at =
		for i, word := range strings.Split(tt.line, " ") {
			name, value, both := strings.Cut(word, "=")
			if i == 0 || !both {
				typed = append(typed, word)
				continue
			}
			typed = append(typed, name, "=", value)
		}
		program := "source " + script + "\nCOMP_WORDS=("
		for _, w := range typed {
			program += "'" + w + "' "
		}
		program += ")\nCOMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_ingest\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
		out, err := exec.Command(bash, "--norc", "-c", program).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", tt.line, err, out)
		}
		judge(t, tt.line, strings.Split(string(out), "\n"), tt.want, tt.not)
	}
}

func TestCompletionInFish(t *testing.T) {
	fish := shell(t, "fish")
	dir := t.TempDir()
	script := filepath.Join(dir, "ingest.fish")
	if err := os.WriteFile(script, []byte(Completion("fish")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range completed {
		cmd := exec.Command(fish, "--no-config", "-c", "source "+script+"; complete -C "+"'"+tt.line+"'")
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", tt.line, err, out)
		}
		var got []string
		for line := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			got = append(got, word)
		}
		judge(t, tt.line, got, tt.want, tt.not)
	}
}

// zsh completes only on a terminal, of which zpty is one: what is typed up to a tab is completed as far as it is
// certain.
func TestCompletionInZsh(t *testing.T) {
	zsh := shell(t, "zsh")
	dir := t.TempDir()
	script := filepath.Join(dir, "_ingest")
	if err := os.WriteFile(script, []byte(Completion("zsh")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(zsh, "-f", "-n", script).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	const program = `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT=; unsetopt prompt_cr prompt_sp zle_bracketed_paste; autoload -Uz compinit; compinit -u -d $1/dump; source $1/_ingest; print rea''dy"
zpty -r z seen '*ready*'
zpty -w -n z "$2"$'\t'
zpty -r z seen "*$3*" && print found
zpty -d z
`
	for _, tt := range []struct{ typed, seen string }{
		{"ingest spo", "spool"},
		{"ingest serve --codec=s", "snappy"},
		{"ingest spool rep", "replay"},
		{"ingest spool replay --idempotence=p", "prefer"},
		{"ingest completion ba", "bash"},
		{"ingest check --offl", "--offline"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, zsh, "-f", "-c", program, "zsh", dir, tt.typed, tt.seen)
		cmd.Env = append(os.Environ(), "HOME="+dir, "TERM=dumb", "PATH="+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil || !strings.Contains(string(out), "found") {
			t.Errorf("%q does not become %s: %v\n%s", tt.typed, tt.seen, err, out)
		}
	}
}

// The manual page has every command and setting, and troff has nothing to say about it.
func TestManualPage(t *testing.T) {
	page := Man("v1")
	for _, c := range commands() {
		if c.name != "" && !c.isGroup() && !strings.Contains(page, ".B "+troff(c.name)+" ") {
			t.Errorf("no command %s", c.name)
		}
	}
	for _, f := range new(Config).fields() {
		if !strings.Contains(page, "\n.B "+troff("--"+f.name)+" ") || !strings.Contains(page, troff(f.env)) {
			t.Errorf("no setting %s", f.name)
		}
	}
	if strings.Contains(page, "${") {
		t.Error("a default is not filled in")
	}
	groff := shell(t, "groff")
	cmd := exec.Command(groff, "-man", "-ww", "-z", "-Kutf8")
	cmd.Stdin = strings.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%.2000s", err, out)
	}
}
