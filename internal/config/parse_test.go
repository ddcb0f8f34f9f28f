package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var testHost = Host{Name: "testhost"}

// parse reads a command line in an environment that has only the variables given.
func parse(t *testing.T, env map[string]string, args ...string) (*Invocation, error) {
	t.Helper()
	cleanEnvironment(t)
	for name, value := range env {
		t.Setenv(name, value)
	}
	return Parse(args, testHost, io.Discard)
}

// complaints is everything that Parse and Validate find, but that brokers and topic are missing.
func complaints(t *testing.T, env map[string]string, args ...string) []string {
	t.Helper()
	inv, err := parse(t, env, args...)
	if err == nil && inv.Config != nil {
		err = inv.Config.Validate()
	}
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatalf("an error that is no list of problems: %v", err)
	}
	return slices.DeleteFunc(problems, func(line string) bool {
		return strings.HasPrefix(line, "--brokers: required") || strings.HasPrefix(line, "--topic: required")
	})
}

func cleanEnvironment(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "INGEST_") {
			t.Setenv(name, "") // so that it is restored
			os.Unsetenv(name)
		}
	}
}

func mustParse(t *testing.T, env map[string]string, args ...string) *Config {
	t.Helper()
	inv, err := parse(t, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	return inv.Config
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ingest.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A flag wins over the environment, that over the file, that over the default, for every kind of value.
func TestPrecedence(t *testing.T) {
	settings := []struct {
		name                    string
		file, env, flag         string
		def, inFile, inEnv, inF any
		get                     func(*Config) any
	}{
		{"topic", "f", "e", "a", "", "f", "e", "a", func(c *Config) any { return c.Topic }},
		{"ack", "accept", "disk", "kafka", "kafka", "accept", "disk", "kafka", func(c *Config) any { return c.Ack }},
		{"ack-timeout", "1s", "2s", "3s", 30 * time.Second, time.Second, 2 * time.Second, 3 * time.Second,
			func(c *Config) any { return c.AckTimeout }},
		{"max-body", "1MiB", "2MiB", "3MiB", 4 * MiB, MiB, 2 * MiB, 3 * MiB, func(c *Config) any { return c.MaxBody }},
		{"decoders", "2", "3", "4", 1, 2, 3, 4, func(c *Config) any { return c.Decoders }},
		{"strict", "false", "true", "false", true, false, true, false, func(c *Config) any { return c.Strict }},
		{"brokers", "[f:1, g:2]", "e:1,h:2", "a:1", []string(nil), []string{"f:1", "g:2"}, []string{"e:1", "h:2"}, []string{"a:1"},
			func(c *Config) any { return c.Brokers }},
		{"linger", "0", "2ms", "auto", time.Millisecond, time.Duration(0), 2 * time.Millisecond, time.Millisecond,
			func(c *Config) any { return c.Linger }},
		{"memory-limit", "100000000", "96MiB", "128MiB", 64 * MiB, 100 * MB, 96 * MiB, 128 * MiB,
			func(c *Config) any { return c.MemoryLimit }},
		{"sasl-password", "f", "e", "a", Secret(""), Secret("f"), Secret("e"), Secret("a"),
			func(c *Config) any { return c.SASLPassword }},
	}
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			file := "--config=" + writeFile(t, s.name+": "+s.file+"\n")
			env := map[string]string{"INGEST_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_")): s.env}
			flag := "--" + s.name + "=" + s.flag
			for _, tt := range []struct {
				sources string
				env     map[string]string
				args    []string
				want    any
			}{
				{"default", nil, nil, s.def},
				{"file", nil, []string{file}, s.inFile},
				{"env over file", env, []string{file}, s.inEnv},
				{"env", env, nil, s.inEnv},
				{"flag over all", env, []string{file, flag}, s.inF},
				{"flag over file", nil, []string{flag, file}, s.inF},
			} {
				got := s.get(mustParse(t, tt.env, append([]string{"serve"}, tt.args...)...))
				if !reflect.DeepEqual(got, tt.want) {
					t.Errorf("%s: %v, want %v", tt.sources, got, tt.want)
				}
			}
		})
	}
}

func TestConfigFileFromEnvironment(t *testing.T) {
	path := writeFile(t, "topic: t\n")
	if c := mustParse(t, map[string]string{"INGEST_CONFIG": path}, "check"); c.Topic != "t" {
		t.Errorf("topic = %q", c.Topic)
	}
}

// A variable that cannot be read must not stop a flag that overrides it.
func TestFlagOverridesBadEnvironment(t *testing.T) {
	c := mustParse(t, map[string]string{"INGEST_MAX_BODY": "lots"}, "serve", "--max-body=1MiB")
	if c.MaxBody != MiB {
		t.Errorf("max-body = %s", c.MaxBody)
	}
}

func TestFileForms(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"only comments", "# nothing\n", ""},
		{"one setting", "topic: a", "a"},
		{"quoted", "topic: 'a'", "a"},
		{"flow", "{topic: a, strict: false}", "a"},
		{"document mark", "---\ntopic: a\n", "a"},
		{"block text", "topic: |-\n  a\n", "a"},
		{"number as text", "topic: 007", "007"},
		{"word that YAML knows", "topic: true", "true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c := mustParse(t, nil, "serve", "--config", writeFile(t, tt.text)); c.Topic != tt.want {
				t.Errorf("topic = %q, want %q", c.Topic, tt.want)
			}
		})
	}
}

func TestFileErrorsNameTheLine(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown", "topic: a\n\nfoo: 1\n", `FILE:3: unknown setting "foo"`},
		{"other spelling", "topic: a\nmax_body: 1\n", `FILE:2: unknown setting "max_body", did you mean "max-body"?`},
		{"config in itself", "config: other\n", `FILE:1: unknown setting "config"`},
		{"no value", "topic:\n", "FILE:1: topic has no value"},
		{"nested", "a: 1\n", `FILE:1: unknown setting "a"`},
		{"mapping as value", "topic: {a: b}\n", "FILE:1: topic must be a plain value"},
		{"list in list", "brokers: [[a]]\n", "FILE:1: brokers must be a list of plain values"},
		{"twice", "topic: a\ntopic: b\n", "FILE:2: "},
		{"not a mapping", "hello", "FILE:1: must be lines of"},
		{"syntax", "topic: a\nlisten: [1\n", "FILE:2: "},
		{"two documents", "topic: a\n---\ntopic: b\n", "FILE:3: only one document"},
		{"bad size", "topic: a\nmax-body: 64M\n", `--max-body: FILE:2: size "64M"`},
		{"bad duration", "linger: 5x\n", `--linger: FILE:1: expected a duration, for example 5ms, or auto, but got "5x"`},
		{"bad number", "topic: a\ndecoders: two\n", "--decoders: FILE:2: "},
		{"bad truth", "strict: perhaps\n", "--strict: FILE:1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, tt.text)
			got := complaints(t, nil, "serve", "--config", path)
			if len(got) != 1 || !strings.HasPrefix(strings.ReplaceAll(got[0], path, "FILE"), tt.want) || strings.Contains(got[0], "\n") {
				t.Errorf("got  %q\nwant %s…, one line", got, tt.want)
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	const stray = "an argument belongs to no flag; it is not shown, because it may be a secret. The value of a flag stands behind = or one blank"
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", `expected one of "serve", "extension", "check", "spool", "top", "audit", "dlq", "completion", "man", "version", "help" (see ingest --help)`},
		{"frob", "unknown command: expected one of \"serve\", \"extension\", \"check\", \"spool\", \"top\", \"audit\", \"dlq\", \"completion\", \"man\", \"version\", \"help\" (see ingest --help)"},
		{"serve x", stray + " (see ingest serve --help)"},
		{"serve --lingr=3", `unknown flag --lingr, did you mean "--linger"? (see ingest serve --help)`},
		{"serve --sasl-password --tls", "--sasl-password: needs a value; one that begins with dashes goes behind = (see ingest serve --help)"},
		{"serve --topic --brokers=a:1", "--topic: needs a value; one that begins with dashes goes behind = (see ingest serve --help)"},
		{"serve --topic", "--topic: needs a value (see ingest serve --help)"},
		{"serve --topic-partitions=x", `--topic-partitions: expected a whole number but got "x"`},
		{"serve --strict=perhaps", `--strict: expected true, 1, yes, false, 0 or no but got "perhaps"`},
		{"serve --ack-timeout=3", `--ack-timeout: expected a duration, for example 5ms, but got "3"`},
		{"serve -x", "unknown flag -x: settings begin with two dashes (see ingest serve --help)"},
		{"serv", `unknown command, did you mean "serve"? (see ingest --help)`},
		{"serve --zzzzzzzzz", "unknown flag --zzzzzzzzz (see ingest serve --help)"},
		{"spool", `expected one of "ls", "verify", "export", "replay" (see ingest spool --help)`},
		{"spool lss", `unknown command, did you mean "ls"? (see ingest spool --help)`},
		{"spool ls a b", stray + " (see ingest spool ls --help)"},
		{"spool export --partition=x d", `--partition: expected a whole number but got "x" (see ingest spool export --help)`},
		{"check --max-body=1M", `--max-body: size "1M" is not a whole number with B, KiB, MiB, GiB, KB, MB or GB, for example 64MiB`},
		{"serve --config=/does/not/exist", "--config: open /does/not/exist: no such file or directory"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := complaints(t, nil, strings.Fields(tt.args)...)
			if len(got) != 1 || got[0] != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		args     string
		command  string
		settings bool
	}{
		{"serve", "serve", true},
		{"check", "check", true},
		{"check --markdown", "check", true},
		{"version", "version", false},
		{"--version", "version", false},
		{"serve --version", "version", false},
		{"--help", "", false},
		{"serve --help", "", false},
	} {
		t.Run(tt.args, func(t *testing.T) {
			inv, err := parse(t, nil, strings.Fields(tt.args)...)
			if err != nil {
				t.Fatal(err)
			}
			if inv.Command != tt.command || (inv.Config != nil) != tt.settings || inv.Markdown != strings.Contains(tt.args, "markdown") {
				t.Errorf("%+v", inv)
			}
		})
	}
}

// A variable that cannot be read is named.
func TestEnvironmentErrors(t *testing.T) {
	got := complaints(t, map[string]string{"INGEST_DECODERS": "two"}, "serve")
	if want := `--decoders: expected a whole number but got "two" (from INGEST_DECODERS)`; len(got) != 1 || got[0] != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Slips on the command line, in the environment and in the file are told together, each with what was meant.
func TestAllMistakesOfAllSourcesAtOnce(t *testing.T) {
	path := writeFile(t, "topc: a\nmax_body: 1\nlinger: 5x\nbroker: b:1\nack: never\nadmn: x\n")
	got := complaints(t, map[string]string{"INGEST_DECODERS": "two", "INGEST_CODEC": "rar"}, "serve", "--lingr=3", "--pprof=perhaps",
		"--max-boddy", "1MiB", "--read-timeout=x", "stray", "--ring-items=0", "--config", path, "--client-id")
	want := []string{
		`unknown flag --lingr, did you mean "--linger"? (see ingest serve --help)`,
		`unknown flag --max-boddy, did you mean "--max-body"? (see ingest serve --help)`,
		`--client-id: needs a value (see ingest serve --help)`,
		`an argument belongs to no flag; it is not shown, because it may be a secret. The value of a flag stands behind = or one blank (see ingest serve --help)`,
		`--pprof: expected true, 1, yes, false, 0 or no but got "perhaps"`,
		`--read-timeout: expected a duration, for example 5ms, but got "x"`,
		`--decoders: expected a whole number but got "two" (from INGEST_DECODERS)`,
		`FILE:1: unknown setting "topc", did you mean "topic"?`,
		`FILE:2: unknown setting "max_body", did you mean "max-body"?`,
		`FILE:4: unknown setting "broker", did you mean "brokers"?`,
		`FILE:6: unknown setting "admn", did you mean "admin"?`,
		`--linger: FILE:3: expected a duration, for example 5ms, or auto, but got "5x"`,
		`--ack=never: must be one of accept, disk, kafka`,
		`--codec=rar: must be one of none, snappy, lz4, zstd, gzip`,
		`--ring-items=0: must be from 1 to 524288`,
	}
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], path, "FILE")
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// A variable that looks like a setting and is none is told, except those that Kubernetes makes for a Service ingest.
func TestUnknownVariablesAreTold(t *testing.T) {
	c := mustParse(t, map[string]string{"INGEST_TOPC": "secret1", "INGEST_ZZZZZZZZZZZZ": "secret2", "INGEST_max_body": "1", "INGEST_TOPIC": "t", "INGEST_CACHE": "d",
		"INGEST_": "1", "INGEST_A\x1b[31mB": "secret3", "INGEST_ " + strings.Repeat("x", 100): "1",
		"INGEST_SERVICE_HOST": "1", "INGEST_PORT": "1", "INGEST_PORT_8080_TCP_ADDR": "1", "INGEST_EVENTS_SERVICE_PORT_HTTP": "1"}, "serve")
	want := "INGEST_TOPC is no setting and is ignored, did you mean INGEST_TOPIC?\n" +
		"INGEST_ZZZZZZZZZZZZ is no setting and is ignored\n" +
		"INGEST_max_body is no setting and is ignored, did you mean INGEST_MAX_BODY?\n" +
		"a variable that begins with INGEST_ is no setting and is ignored; its name is not shown, because no setting has a name like it"
	if got := strings.Join(c.Warnings(), "\n"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A file that only a parser could love is refused, within a bounded time and memory.
func TestHugeOrDeepFilesAreRefusedWithinBounds(t *testing.T) {
	var pairs strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&pairs, "k%d: 1\n", i)
	}
	for name, text := range map[string]string{
		"brackets": strings.Repeat("[", 100<<10), "braces": strings.Repeat("{", 100<<10), "dashes": strings.Repeat("- ", 100<<10),
		"questions": strings.Repeat("? ", 100<<10), "colons": strings.Repeat("a: ", 60<<10), "anchors": strings.Repeat("&a ", 60<<10),
		"tags": strings.Repeat("!a ", 60<<10), "keys": pairs.String(), "fewer keys": pairs.String()[:200<<10], "big value": "topic: " + strings.Repeat("x", 1<<20),
		"lists": "brokers: " + strings.Repeat("[a,", 1000), "zeros": strings.Repeat("\x00", 1<<20), "documents": strings.Repeat("---\na: 1\n", 20_000),
		"alias": "topic: &a t\nclient-id: *a\n", "merge": "<<: {topic: t}\n",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := complaints(t, nil, "serve", "--config", writeFile(t, text))
		runtime.ReadMemStats(&after)
		if len(got) == 0 || len(got) > 10 || len(strings.Join(got, "")) > 2000 {
			t.Errorf("%s: %d problems, %.200q", name, len(got), got)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 128<<20 {
			t.Errorf("%s: %d MiB allocated", name, grown>>20)
		}
	}
	if got := complaints(t, nil, "serve", "--config=/dev/zero"); len(got) != 1 || !strings.Contains(got[0], "more than 262144 bytes") {
		t.Errorf("/dev/zero: %q", got)
	}
}

// Fallback does not look at the environment.
func TestFallback(t *testing.T) {
	t.Setenv("INGEST_DECODERS", "two")
	t.Setenv("INGEST_CONFIG", "/does/not/exist")
	t.Setenv("INGEST_LISTEN", "h:1")
	c, err := Fallback(testHost)
	if err != nil || c.Decoders != 1 || c.ConfigFile != "" || c.Listen != "127.0.0.1:8081-8090" || c.command != Extension {
		t.Errorf("%+v, %v", c, err)
	}
}

// check --extension has the extension's defaults, in its help too.
func TestHelpOfEveryCommand(t *testing.T) {
	for args, want := range map[string]string{
		"--help":                   "  spool         Inspect",
		"-h":                       "  version       Print",
		"serve -h":                 "127.0.0.1:8080)",
		"check --extension --help": "127.0.0.1:8081-8090)",
		"extension --help":         "127.0.0.1:8081-8090)",
		"spool --help":             "  spool replay  Send",
		"spool ls --help":          "Usage: ingest spool ls <dir> [flags]",
		"spool verify --help":      "Exit code 0: nothing is damaged;",
		"spool export --help":      "--since AGE",
		"spool replay --help":      "--timeout ",
		"version --help":           "Usage: ingest version [flags]",
	} {
		cleanEnvironment(t)
		var out bytes.Buffer
		inv, err := Parse(strings.Fields(args), testHost, &out)
		if err != nil || inv.Command != "" || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, %q is not in\n%s", args, err, want, &out)
		}
	}
}

// Help is clean: every setting is in it, nothing is left to be replaced, no line is too wide.
func TestHelp(t *testing.T) {
	cleanEnvironment(t)
	var out bytes.Buffer
	if _, err := Parse([]string{"serve", "--help"}, testHost, &out); err != nil {
		t.Fatal(err)
	}
	help := out.String()
	if strings.Contains(help, "${") {
		t.Error("unreplaced default in the help")
	}
	for _, f := range new(Config).fields() {
		if !strings.Contains(help, " --"+f.name+" ") {
			t.Errorf("--%s is not in the help", f.name)
		}
		if f.help == "" || !strings.HasSuffix(f.help, ".") {
			t.Errorf("--%s: help %q is not a sentence", f.name, f.help)
		}
	}
	for _, g := range groups() {
		if !strings.Contains(help, "\n"+g.title+"\n") {
			t.Errorf("group %q is not in the help", g.title)
		}
	}
	for line := range strings.Lines(help) {
		if len(strings.TrimSpace(line)) > 110 {
			t.Errorf("line too wide: %s", line)
		}
	}
}
