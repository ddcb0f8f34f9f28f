package main

import (
	"bytes"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/pkg/decode"
)

// call runs the program in an environment without settings.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "INGEST_") {
			t.Setenv(name, "") // so that it is restored
			os.Unsetenv(name)
		}
	}
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestRun(t *testing.T) {
	const good = "--brokers=b:9092 --topic=t"
	for _, tt := range []struct {
		name, args string
		code       int
		stdout     string // must be in it; "" is nothing at all
		stderr     string // "=" in front: must be it
	}{
		{"version", "version", exitOK, "ingest ", "="},
		{"version as JSON", "version --json", exitOK, `"go":"go1.`, "="},
		{"help command", "help", exitOK, "Usage: ingest <command>", "="},
		{"help of serve", "help serve", exitOK, "Delivering events:", "="},
		{"help of spool ls", "help spool ls", exitOK, "Usage: ingest spool ls <dir>", "="},
		{"help of nothing", "help frob", exitUsage, "", "=ingest: unknown command: expected one of \"serve\", \"extension\", \"check\", \"spool\", \"top\", \"audit\", \"dlq\", \"completion\", \"man\", \"version\", \"help\" (see ingest --help)\n"},
		{"help lists values", "help serve", exitOK, "--ack accept|disk|kafka ", "="},
		{"completion", "completion bash", exitOK, "complete -F _ingest ingest", "="},
		{"completion of no shell", "completion tcsh", exitUsage, "", "=ingest: expected bash, zsh or fish (see ingest completion --help)\n"},
		{"man", "man", exitOK, ".TH INGEST 1", "="},
		{"version flag", "--version", exitOK, "ingest ", "="},
		{"help", "--help", exitOK, "Usage: ingest <command>", "="},
		{"help of a command", "serve --help", exitOK, "Delivering events:", "="},
		{"check", "check --offline " + good, exitOK, "\ntopic: t\n", "="},
		{"check shows the budget", "check --offline " + good, exitOK, "\n# memory-limit 64MiB = bodies 13696KiB + batches 16MiB + connections 17024KiB (1024) + runtime 18MiB;", "="},
		{"check warns", "check --offline --max-body=512MiB " + good, exitOK, "\nmax-body: 512MiB\n",
			"=ingest: warning: --max-body=512MiB is lowered to 8MiB, larger bodies get 413: --memory-limit=64MiB leaves 13696KiB for bodies, of which long ones share three quarters. Raise --memory-limit or lower --buffer-bytes to take larger ones\n"},
		{"check prints bad settings too", "check --codec=foo " + good, exitUsage, "\ncodec: foo\n",
			"=ingest: --codec=foo: must be one of none, snappy, lz4, zstd, gzip\n"},
		{"check lists all problems", "check", exitUsage, "\ntopic: \"\"\n",
			"=ingest: --brokers: required: the Kafka brokers, for example 10.0.0.1:9092,10.0.0.2:9092\n" +
				"ingest: --topic: required: the Kafka topic of the events\n"},
		{"check names the sources", "check --offline " + good, exitOK, "# from the command line:\nbrokers: [b:9092]\ntopic: t\n# defaults:\n", "="},
		{"check leaves settings of extensions out", "check --offline " + good, exitOK, "\nidempotence: require\ncodec: snappy\nlinger: 1ms\nbatch-bytes: 256KiB\nrequest-timeout: 5s\nmetadata-ttl: 1m\nclient-id: ingest\nmemory-limit: 64MiB\n", "="},
		{"check as JSON", "check --offline --json " + good, exitOK, "{\n      \"name\": \"topic\",\n      \"value\": \"t\",\n      \"source\": \"--topic\"\n    }", "="},
		{"check of bad settings as JSON", "check --json --codec=foo " + good, exitUsage, "\"problems\": [\n    \"--codec=foo: must be", "="},
		{"markdown", "check --markdown", exitOK, "| `--listen` | `INGEST_LISTEN` |", "="},
		{"serve with bad settings", "serve --ack=disk " + good, exitUsage, "",
			"=ingest: --ack=disk: needs --spool-dir and --sink=kafka; or use kafka or accept\n"},
		{"no command", "", exitUsage, "", "=ingest: expected one of \"serve\", \"extension\", \"check\", \"spool\", \"top\", \"audit\", \"dlq\", \"completion\", \"man\", \"version\", \"help\" (see ingest --help)\n"},
		{"unknown flag", "serve --topics=t " + good, exitUsage, "", "=ingest: unknown flag --topics, did you mean \"--topic\"? (see ingest serve --help)\n"},
		{"check of an extension", "check --offline --extension " + good, exitOK, "\nlisten: 127.0.0.1:8081-8090\n", "="},
		{"check of a bad extension", "check --extension --listen=127.0.0.1:8080 " + good, exitUsage, "\nkeyless: instance\n",
			"=ingest: --listen=127.0.0.1:8080: the platform takes only ports of 127.0.0.1:8081-8090\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := call(t, strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(stdout, tt.stdout) || (tt.stdout == "" && stdout != "") {
				t.Errorf("stdout %q, want %q in it", stdout, tt.stdout)
			}
			if want := strings.TrimPrefix(tt.stderr, "="); stderr != want {
				t.Errorf("stderr %q, want %q", stderr, want)
			}
		})
	}
}

func TestVersionLine(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	for _, tt := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{GoVersion: "go1.26.8"}, "ingest (devel) go1.26.8 " + platform + " "},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.modified", Value: "false"}}},
			"ingest v1.2.3 revision 0123456789ab go1.26.8 " + platform + " "},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123"}, {Key: "vcs.modified", Value: "true"}}},
			"ingest v1.2.3 revision 0123+changes go1.26.8 " + platform + " "},
	} {
		if got, want := buildOf(&tt.info).String(), tt.want+decoder(decode.Native, decode.Vectors())+" decoder"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := decoder(true, true) + decoder(false, true) + decoder(false, false); got != "nativeavx2go" {
		t.Errorf("decoders %s", got)
	}
}

func TestLogLevel(t *testing.T) {
	for level, want := range map[string]string{"debug": "diwe", "info": "iwe", "warn": "we", "error": "e"} {
		var out bytes.Buffer
		log := logging.New(&out, false, logging.NewLevel(level))
		log.Debug("d")
		log.Info("i")
		log.Warn("w")
		log.Error("e")
		got := ""
		for line := range strings.Lines(out.String()) {
			_, msg, _ := strings.Cut(strings.TrimSpace(line), "msg=")
			got += msg
		}
		if got != want {
			t.Errorf("%s logs %q, want %q", level, got, want)
		}
	}
}

// Settings of the Go runtime follow the budget and the CPU quota, unless the operator has set them.
func TestTune(t *testing.T) {
	limit, procs := debug.SetMemoryLimit(-1), runtime.GOMAXPROCS(0)
	restore := func() { debug.SetMemoryLimit(limit); runtime.GOMAXPROCS(procs) }
	t.Cleanup(restore)
	log := slog.New(slog.DiscardHandler)
	const want = 58 * config.MiB
	for _, tt := range []struct {
		name, memEnv, procsEnv string
		cpus                   float64
		limit                  int64
		one                    bool
	}{
		{"no quota", "", "", 0, int64(want), false},
		{"a quarter of a core", "", "", 0.25, int64(want), true},
		{"one core", "", "", 1, int64(want), true},
		{"more than one core", "", "", 1.5, int64(want), false},
		{"the operator's memory limit", "1GiB", "", 0, limit, false},
		{"the operator's GOMAXPROCS", "", "2", 0.25, int64(want), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			restore()
			t.Setenv("GOMEMLIMIT", tt.memEnv)
			t.Setenv("GOMAXPROCS", tt.procsEnv)
			runtime.GOMAXPROCS(2)
			tune(log, config.Budget{GoMemLimit: want}, config.Host{CPUs: tt.cpus})
			if got := debug.SetMemoryLimit(-1); got != tt.limit {
				t.Errorf("memory limit %d, want %d", got, tt.limit)
			}
			if one := runtime.GOMAXPROCS(0) == 1; one != tt.one {
				t.Errorf("GOMAXPROCS %d", runtime.GOMAXPROCS(0))
			}
		})
	}
}
