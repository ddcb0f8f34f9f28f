package test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

// Every command, log level and endpoint, with secrets from each source, good settings and bad ones: none of what the
// program says has a secret in it. The operating system shows the arguments of a process to others; that is not its to
// change, and the help says so.
func TestNoSecretIsEverSaid(t *testing.T) {
	bin := proc.Build(t)
	dir := t.TempDir()
	const secret = "hunter2-topsecret"
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	password := write("password", secret+"\n")
	good := write("good.yaml", "sasl: u:"+secret+"\nbrokers: 127.0.0.1:1\ntopic: t\n")
	bad := write("bad.yaml", "sasl-password: >"+secret+"\n")
	const base = "--brokers=127.0.0.1:1 --topic=t --request-timeout=200ms"
	sources := []struct{ args, env string }{
		{base + " --sasl=u:" + secret, ""},
		{base + " --sasl-mechanism=PLAIN --sasl-user=u --sasl-password=" + secret, ""},
		{base + " --sasl-mechanism=SCRAM-SHA-512 --sasl-user=u --sasl-password-file=" + password, ""},
		{base + " --sasl-mechanism=OAUTHBEARER --oauth-token-file=" + password, ""},
		{base + " --sasl-mechanism=OAUTHBEARER --oauth-token-url=http://127.0.0.1:1/t?k=" + secret + " --oauth-client-id=fn --oauth-client-secret-file=" + password, ""},
		{base, "INGEST_SASL=u:" + secret},
		{"--config=" + good, ""},
	}

	said := map[string]string{}
	run := func(env string, args ...string) {
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), env)
		out, err := cmd.CombinedOutput() // whatever the exit code is
		if len(out) == 0 && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		said[fmt.Sprint(env, args)] = string(out)
	}
	for _, s := range sources {
		args := strings.Fields(s.args)
		for _, command := range []string{"check", "check --json", "check --offline --extension", "check --codec=rar", "spool replay", "spool replay --spool-dir=/proc/none --timeout=100ms", "serve --ack=never", "serve --help", "extension --help"} {
			run(s.env, append(strings.Fields(command), args...)...)
		}
	}
	for _, args := range []string{
		"check --config=" + bad, "serve --config=" + bad, "serve --sasl-user=u:" + secret, "serve --brokers u:" + secret + "@h:9092", "serve " + secret,
		"serve --sasl-password= " + secret, "serve --sasl=" + secret, "serve --sasl-password-file=" + secret, "check --sasl-mechanism=" + secret, "check --oauth-token-file=" + secret, "check --oauth-client-secret-file=" + secret,
		secret, "version " + secret, "spool ls " + dir + " " + secret, "completion " + secret, "help " + secret, "serve --sasl-pasword=" + secret,
	} {
		run("", strings.Fields(args)...)
	}

	// A process at the most talkative level, asked everything, told to read its settings again, and stopped.
	for i, s := range sources {
		o := proc.Options{Bin: bin, Args: append([]string{"serve", "--listen={listen}", "--admin={admin}", "--log-level=debug", "--pprof", "--page-content", "--shutdown-timeout=300ms",
			"--ack=accept"}, strings.Fields(s.args)...), Env: []string{s.env}}
		if i == len(sources)-1 {
			o.Args[0], o.Args = "extension", append(o.Args, "--log-level=debug")
			o.Listen = "127.0.0.1:8089"
		}
		p := proc.StartUnready(t, o)
		answered := func() bool { _, _, err := p.Get("/healthz"); return err == nil }
		for deadline := time.Now().Add(time.Minute); !answered(); {
			if time.Now().After(deadline) {
				t.Fatalf("no answer of %v\n%s", o.Args, p.Stderr())
			}
		}
		for _, path := range []string{"/ledger", "/metrics", "/healthz", "/readyz", "/status", "/", "/settings", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2",
			"/debug/pprof/heap?debug=1", "/debug/pprof/symbol", "/debug/vars", "/debug/requests"} {
			_, answer, err := p.Get(path)
			must(t, err)
			said[fmt.Sprint(s, path)] = string(answer)
		}
		for _, method := range []string{"GET", "POST", "PUT", "TRACE"} {
			req, err := http.NewRequest(method, p.URL("/"), bytes.NewReader([]byte(`[{"a":1},x]`)))
			must(t, err)
			if res, err := client.Do(req); err == nil {
				var body bytes.Buffer
				_ = res.Write(&body)
				said[fmt.Sprint(s, method)] = body.String()
			}
		}
		must(t, p.Signal(syscall.SIGHUP))
		_, _ = p.Stop(t.Context())
		said[fmt.Sprint(s, "output")] = p.Stdout() + p.Stderr()
	}
	if len(said) < 100 {
		t.Errorf("only %d answers were looked at", len(said))
	}
	for what, text := range said {
		if strings.Contains(text, secret) || strings.Contains(text, "topsecret") {
			at := strings.Index(text, "topsecret")
			t.Errorf("%s says …%s…", what, text[max(0, at-100):min(len(text), at+100)])
		}
	}
}
