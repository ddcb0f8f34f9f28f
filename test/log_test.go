package test

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"functiongraph-ingest/test/proc"
)

// serveNowhere are the options of a process whose broker is away: it logs, and needs no cluster.
func serveNowhere(t *testing.T, more ...string) proc.Options {
	return proc.Serve(proc.Build(t), "127.0.0.1:1", "t", append([]string{"--shutdown-timeout=300ms"}, more...)...)
}

// The line at the start names the addresses that were taken, not the port 0 that was asked for.
func TestTheAddressesOfTheStartAreTold(t *testing.T) {
	p := proc.StartUnready(t, proc.Options{Bin: proc.Build(t), Args: []string{"serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--brokers=127.0.0.1:1", "--topic=t", "--shutdown-timeout=300ms"}})
	awaitSeen(t, "the line", func() bool { return lines(p, "msg=serving") == 1 })
	if lines(p, "msg=serving", "listen=127.0.0.1:", "admin=127.0.0.1:") != 1 || lines(p, ":0 ") != 0 {
		t.Errorf("%s", p.Stderr())
	}
	p.MustStop(t)
}

// The log is JSON where stderr is no terminal, and in the form that is asked for.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, variable string
		args           []string
		json           bool
	}{
		{"auto", "auto", nil, true},
		{"text", "auto", []string{"--log-format=text"}, false},
		{"json", "text", []string{"--log-format=json"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := serveNowhere(t, tt.args...)
			o.Env = []string{"INGEST_LOG_FORMAT=" + tt.variable}
			p := proc.StartUnready(t, o)
			awaitSeen(t, "an address that answers", func() bool { code, _, err := p.Get("/healthz"); return err == nil && code == 200 })
			awaitSeen(t, "the warning", func() bool { return lines(p, "WARN", "events do not reach Kafka") == 1 })
			if code, _ := p.MustStop(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
			for line := range strings.Lines(p.Stderr()) {
				var m struct{ Time, Level, Msg, For string }
				err := json.Unmarshal([]byte(line), &m)
				if (err == nil) != tt.json || tt.json && (m.Time == "" || m.Level == "" || m.Msg == "" || strings.Contains(m.Msg, "do not reach") && !strings.HasSuffix(m.For, "s")) {
					t.Errorf("%v: %s", err, line)
				}
			}
		})
	}
}

// The level changes while the process runs: by a request, by SIGUSR1 and back, each with a line; neither ends it.
func TestLogLevelOfARunningProcess(t *testing.T) {
	p := proc.StartUnready(t, serveNowhere(t))
	level := func() string { _, body, _ := p.Get("/loglevel"); return strings.TrimSpace(string(body)) }
	put := func(word string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+p.Admin+"/loglevel", strings.NewReader(word))
		must(t, err)
		res, err := client.Do(req)
		must(t, err)
		must(t, res.Body.Close())
		return res.StatusCode
	}
	awaitSeen(t, "the level of the start", func() bool { return level() == "info" })
	if code := put("loud"); code != http.StatusBadRequest || level() != "info" {
		t.Errorf("loud: %d, %s", code, level())
	}
	if code := put("error"); code != http.StatusOK || level() != "error" {
		t.Errorf("error: %d, %s", code, level())
	}
	for range 2 {
		must(t, p.Signal(syscall.SIGUSR1))
		awaitSeen(t, "debug", func() bool { return level() == "debug" })
		awaitSeen(t, "a line of that level", func() bool { return lines(p, "level=DEBUG") > 0 })
		must(t, p.Signal(syscall.SIGUSR1))
		awaitSeen(t, "the level before", func() bool { return level() == "error" })
	}
	awaitSeen(t, "a line for each change to debug", func() bool { return lines(p, "the log level has changed", "level=debug", "by=SIGUSR1") == 2 })
	if code, _ := p.MustStop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
