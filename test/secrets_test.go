package test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/test/proc"
)

// aSecret is in every secret of these tests.
const aSecret = "hunter2-topsecret"

// secrets drives the program with secrets from every source, and remembers what it says.
type secrets struct {
	t     *testing.T
	bin   string
	dir   string
	keys  []string // the middle of private keys
	asked map[string]bool

	mu   sync.Mutex
	ran  []string // the command lines
	said map[string]string
}

// secretSource is a way in which the program comes to a secret.
type secretSource struct{ args, env string }

func (s *secrets) file(name string, contents ...string) string {
	path := filepath.Join(s.dir, name)
	must(s.t, os.WriteFile(path, []byte(strings.Join(contents, "")), 0o600))
	return path
}

// key makes a private key with its certificate, which are used, and the same file with the key damaged.
func (s *secrets) key() (good, bad string) {
	pair := tlstest.CA(s.t, "secrets").Issue(s.t, "fn", tlstest.Hosts("127.0.0.1"))
	key := string(pair.KeyPEM())
	inside := strings.Split(key, "\n")[1]
	s.keys = append(s.keys, inside[8:40])
	return s.file("pair.pem", key, string(pair.CertPEM())), s.file("damaged.pem", strings.Replace(key, inside[:4], "%%%%", 1), string(pair.CertPEM()))
}

// run runs a command, whatever its exit code is.
func (s *secrets) run(env string, args ...string) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Env = append(os.Environ(), env)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // some try again for a minute
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || errors.Is(err, exec.ErrWaitDelay) {
		s.t.Errorf("%q does not end: %v\n%s", args, err, out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran = append(s.ran, strings.Join(args, " "))
	s.said[fmt.Sprint(env, args)] = string(out)
}

// get asks a process; of what is compressed the content counts.
func (s *secrets) get(p *proc.Process, source, path string) {
	_, answer, err := p.Get(path)
	must(s.t, err)
	if z, err := gzip.NewReader(bytes.NewReader(answer)); err == nil {
		if answer, err = io.ReadAll(z); err != nil {
			s.t.Errorf("%s: %v", path, err)
		}
	}
	name, _, _ := strings.Cut(path, "?")
	s.asked[name] = true
	s.said[source+" "+path] = string(answer)
}

// judge fails the test if anything that was said has a secret in it.
func (s *secrets) judge() {
	s.t.Helper()
	if len(s.said) < 200 {
		s.t.Errorf("only %d answers were looked at", len(s.said))
	}
	for what, text := range s.said {
		for _, secret := range append([]string{aSecret, "topsecret"}, s.keys...) {
			if at := strings.Index(text, secret); at >= 0 {
				s.t.Errorf("%s says …%s…", what, text[max(0, at-100):min(len(text), at+100)])
			}
		}
	}
}

// sources are all of them, good for a start.
func (s *secrets) sources(broker string) []secretSource {
	good, _ := s.key()
	password, token := s.file("password", aSecret, "\n"), s.file("token", aSecret, ".of.file\n")
	config := s.file("good.yaml", "sasl: u:", aSecret, "\nbrokers: ", broker, "\ntopic: t\n")
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"access_token":"%s.of.endpoint"}`, aSecret)
	}))
	s.t.Cleanup(endpoint.Close)
	base := "--brokers=" + broker + " --topic=t --request-timeout=200ms "
	oauth := base + "--sasl-mechanism=OAUTHBEARER "
	url := "/t?k=" + aSecret + " --oauth-client-id=fn --oauth-client-secret-file=" + password
	return []secretSource{
		{base + "--sasl=u:" + aSecret, ""},
		{base + "--sasl-mechanism=PLAIN --sasl-user=u --sasl-password=" + aSecret, ""},
		{base + "--sasl-mechanism=SCRAM-SHA-512 --sasl-user=u --sasl-password-file=" + password, ""},
		{oauth + "--oauth-token-file=" + token, ""},
		{oauth + "--oauth-token-url=http://127.0.0.1:1" + url, ""},
		{oauth + "--oauth-token-url=" + endpoint.URL + url, ""},
		{base + "--tls --tls-cert=" + good + " --tls-key=" + good, ""},
		{base + "--listen-tls-cert=" + good + " --listen-tls-key=" + good, ""},
		{base + "--listen-token-file=" + token, ""},
		{base, "INGEST_SASL=u:" + aSecret},
		{"--config=" + config, ""},
	}
}

// commands names every command, as the program's help has them.
func (s *secrets) commands(group ...string) (all []string) {
	out, err := exec.Command(s.bin, append(group, "--help")...).Output()
	must(s.t, err)
	_, list, found := strings.Cut(string(out), "\nCommands:\n")
	if !found {
		return []string{strings.Join(group, " ")}
	}
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "  ") {
			break
		}
		name := strings.Fields(line)[:len(group)+1]
		if name[0] == "help" {
			continue
		}
		all = append(all, s.commands(name...)...)
	}
	return all
}

// commandsWith runs every command that takes settings.
func (s *secrets) commandsWith(env string, args []string) {
	for _, command := range []string{"check", "check --json", "check --offline --extension", "check --codec=rar",
		"spool replay --ack=never", "spool replay --spool-dir=" + s.dir + "/spool --timeout=100ms", "serve --ack=never", "serve --help", "extension --help",
		"audit --json", "dlq ls", "dlq show", "dlq resend --to=topic", "dlq resend --to=http://u:" + aSecret + "@127.0.0.1:1/?k=" + aSecret,
	} {
		s.run(env, append(strings.Fields(command), args...)...)
	}
}

// Every command, log level and endpoint, with secrets from each source, good settings and bad ones, and a broker that
// repeats what it is told: none of what the program says has a secret in it. The operating system shows the arguments of
// a process to others; that is not its to change, and the help says so.
func TestNoSecretIsEverSaid(t *testing.T) {
	t.Parallel()
	s := &secrets{t: t, bin: proc.Build(t), dir: t.TempDir(), asked: map[string]bool{}, said: map[string]string{}}
	sources := s.sources(startEcho(t))
	var wait sync.WaitGroup
	for _, source := range sources {
		args := strings.Fields(source.args)
		wait.Go(func() { s.commandsWith(source.env, args) })
	}
	wait.Wait()
	s.mistakes()
	for i, source := range sources {
		s.process(source, i)
	}

	for _, command := range s.commands() {
		if !slices.ContainsFunc(s.ran, func(line string) bool { return line == command || strings.HasPrefix(line, command+" ") }) {
			t.Errorf("%q was not tried", command)
		}
	}
	help, err := exec.Command(s.bin, "serve", "--help").Output()
	must(t, err)
	for _, name := range regexp.MustCompile(`(?m)^\s+(--(?:[a-z-]*(?:password|token|secret|tls-key)[a-z-]*|sasl)) `).FindAllStringSubmatch(string(help), -1) {
		if !slices.ContainsFunc(s.ran, func(line string) bool { return strings.Contains(line, name[1]+"=") }) {
			t.Errorf("no secret came by %s", name[1])
		}
	}
	for _, file := range []string{"admin.go", "health.go"} {
		source, err := os.ReadFile(filepath.Join("..", "internal", "admin", file))
		must(t, err)
		for _, m := range regexp.MustCompile(`(?:"GET |case ")(/[^"{]*)`).FindAllStringSubmatch(string(source), -1) {
			if !s.asked[m[1]] {
				t.Errorf("%s was not asked", m[1])
			}
		}
	}
	s.judge()
}

// mistakes are secrets in places where none belongs.
func (s *secrets) mistakes() {
	_, damaged := s.key()
	for i, text := range []string{"sasl-password: >" + aSecret, "sasl: [" + aSecret, "sasl:\n  " + aSecret + ": x", "\tsasl: " + aSecret, "sasl: \"" + aSecret, aSecret,
		"oauth-token-url: http://u:" + aSecret + "@h/", "oauth-client-secret-file: |\n  " + aSecret, "sasl: &a " + aSecret + "\ntopic: *b"} {
		bad := s.file(fmt.Sprint("bad", i, ".yaml"), text, "\n")
		s.run("", "check", "--config="+bad)
		s.run("", "serve", "--config="+bad)
	}
	words := s.file("words", aSecret, " and ", aSecret, "\n")
	const oauth = "check --brokers=127.0.0.1:1 --topic=t --sasl-mechanism=OAUTHBEARER --oauth-token-"
	for _, args := range []string{
		"serve --sasl-user=u:" + aSecret, "serve --brokers u:" + aSecret + "@h:9092", "serve " + aSecret, "serve --sasl-password= " + aSecret,
		"serve --sasl=" + aSecret, "serve --sasl-password-file=" + aSecret, "check --sasl-mechanism=" + aSecret, "serve --sasl-pasword=" + aSecret,
		"check --oauth-token-file=" + aSecret, "check --oauth-client-secret-file=" + aSecret, "check --oauth-token-file=" + words,
		oauth + "file=" + words, oauth + "url=http://u:" + aSecret + "@127.0.0.1:1/", oauth + "url=" + aSecret, oauth + "url=http://h/?" + aSecret,
		"serve --listen-token-file=" + aSecret, "serve --listen-token-file=" + words, "check --admin-token-file=" + words, "check --admin-token-file=" + aSecret,
		"check --brokers=127.0.0.1:1 --topic=t --tls --tls-cert=" + damaged + " --tls-key=" + damaged, "serve --listen-tls-cert=" + damaged + " --listen-tls-key=" + damaged,
		"check --admin-tls-cert=" + damaged + " --admin-tls-key=" + damaged, "check --tls --tls-ca=" + words + " --tls-key=" + words,
		aSecret, "version " + aSecret, "version", "man", "man " + aSecret, "completion " + aSecret, "completion bash", "help " + aSecret,
		"spool ls " + s.dir + " " + aSecret, "spool verify " + s.dir, "spool export " + s.dir, "spool " + aSecret,
		"top --once --admin=u:" + aSecret + "@127.0.0.1:1", "top --once --admin=https://u:" + aSecret + "@127.0.0.1:1", "top --once --token-file=" + aSecret,
		"top --once --admin=127.0.0.1:1 --token-file=" + words, "dlq " + aSecret, "dlq resend --to=" + aSecret, "dlq resend --to=http://127.0.0.1:1/?k=" + aSecret + " --input=" + words,
		"audit --topic=u:" + aSecret + "@h",
	} {
		s.run("", strings.Fields(args)...)
	}
	s.run("INGEST_ADMIN_TOKEN_FILE="+words, "top", "--once", "--admin=127.0.0.1:1")
	s.run("INGEST_"+strings.ToUpper(aSecret)+"=x", "check")
}

// process is one at the most talkative level, asked everything, told to read its settings again, and stopped.
func (s *secrets) process(source secretSource, i int) {
	o := proc.Options{Bin: s.bin, Args: append([]string{"serve", "--listen={listen}", "--admin={admin}", "--log-level=debug", "--pprof", "--page-content", "--shutdown-timeout=300ms",
		"--ack=accept"}, strings.Fields(source.args)...), Env: []string{source.env, "INGEST_LOG_FORMAT=" + []string{"text", "json"}[i%2]}}
	if strings.HasPrefix(source.args, "--config") {
		o.Args[0], o.Listen = "extension", "127.0.0.1:8089"
	}
	p := proc.StartUnready(s.t, o)
	answered := func() bool { _, _, err := p.Get("/healthz"); return err == nil }
	for deadline := time.Now().Add(time.Minute); !answered(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("no answer of %v\n%s", o.Args, p.Stderr())
		}
	}
	name := fmt.Sprint(source)
	s.post(p, name)
	for _, path := range []string{"/ledger", "/metrics", "/healthz", "/readyz", "/status", "/", "/settings", "/loglevel", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/symbol",
		"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/trace?seconds=0.05", "/debug/vars"} {
		s.get(p, name, path)
	}
	if i == 0 {
		s.get(p, name, "/debug/pprof/profile?seconds=1")
	}
	s.run("", "top", "--once", "--admin="+p.Admin)
	must(s.t, p.Signal(syscall.SIGHUP))
	_, _ = p.Stop(s.t.Context())
	s.said[name+" output"] = p.Stdout() + p.Stderr()
}

// post sends requests of several kinds, with a right token and a wrong one.
func (s *secrets) post(p *proc.Process, name string) {
	for _, method := range []string{"GET", "POST", "PUT", "TRACE"} {
		for _, token := range []string{"", aSecret, aSecret + ".of.file"} {
			req, err := http.NewRequest(method, p.URL("/"), strings.NewReader(`[{"a":1},x]`))
			must(s.t, err)
			if req.Header.Set("Authorization", "Bearer "+token); token == "" {
				req.Header.Del("Authorization")
			}
			if res, err := client.Do(req); err == nil {
				var all bytes.Buffer
				_ = res.Write(&all)
				res.Body.Close()
				s.said[name+method+token] = all.String()
			}
		}
	}
}
