package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// fakePlatform is FunctionGraph's extension API, as little of it as one extension needs.
type fakePlatform struct {
	t  *testing.T
	mu sync.Mutex

	address string // that registered
	uri     string // that telemetry goes to
}

func startPlatform(t *testing.T) (*fakePlatform, *httptest.Server) {
	f := &fakePlatform{t: t}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return f, s
}

func (f *fakePlatform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/extension/register":
		address := r.Header.Get("FunctionGraph-Extension-Address")
		if name := r.Header.Get("FunctionGraph-Extension-Name"); name != "extensionIngest.sh" {
			f.t.Errorf("registered as %q", name)
		}
		// The platform may send an invocation event before it answers the registration.
		res, err := http.Post("http://"+address+"/extension/invoke", "application/json", strings.NewReader(`{"traceId":"first","invokedFunctionUrn":"urn"}`))
		if err != nil || res.StatusCode != 200 {
			f.t.Errorf("invocation event during the registration: %v, %v", res, err)
		}
		f.mu.Lock()
		f.address = address
		f.mu.Unlock()
		io.WriteString(w, `{"functionName":"hello","functionVersion":"$LATEST","errorInfo":{"errorType":"","errorMessage":""}}`)
	case "/telemetry":
		var s struct {
			Subscriber struct{ Protocol, URI string }
			Types      []string
		}
		if err := json.Unmarshal(body, &s); err != nil || s.Subscriber.Protocol != "POST" || len(s.Types) != 3 {
			f.t.Errorf("subscription %s: %v", body, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if !strings.HasPrefix(s.Subscriber.URI, "http://"+f.address) || f.address == "" {
			f.t.Errorf("subscribed %s, registered %q", s.Subscriber.URI, f.address)
		}
		f.uri = s.Subscriber.URI
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// telemetry is where deliveries go, once it is known.
func (f *fakePlatform) telemetry() string {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		f.mu.Lock()
		uri := f.uri
		f.mu.Unlock()
		if uri != "" {
			return uri
		}
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatal("the extension never subscribed")
		}
	}
}

func (f *fakePlatform) deliver(events ...string) {
	f.t.Helper()
	res, err := client.Post(f.telemetry(), "application/json", bytes.NewReader([]byte("["+strings.Join(events, ",")+"]")))
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	if res.StatusCode != 200 {
		f.t.Errorf("a delivery is answered %d", res.StatusCode)
	}
}

// extension returns how to run "ingest extension" with an environment and nothing on the command line but
// what a test needs to look inside.
func extension(bin string, api *httptest.Server, env ...string) proc.Options {
	return proc.Options{
		Bin: bin, Args: []string{"extension", "--admin", "{admin}"},
		Env: append(env, "EXTENSION_API_ADDR="+strings.TrimPrefix(api.URL, "http://")),
	}
}

// Register, subscribe, invocations, telemetry, Kafka, SIGTERM: every event arrives once, byte for byte, and
// what ingest itself logged does not. Brokers and topic are all it is told.
func TestExtension(t *testing.T) {
	k := kafka(t)
	k.Topic(t, "extension", 4, nil)
	f, api := startPlatform(t)
	p := proc.Start(t, extension(proc.Build(t), api, "INGEST_BROKERS="+k.Bootstrap(), "INGEST_TOPIC=extension"))
	f.telemetry()
	var want []string
	const invocations = 1000
	for i := range invocations {
		id := fmt.Sprintf("69be64a7-0233-11e8-82e4-%012d", i)
		if i%2 == 0 {
			res, err := client.Post("http://"+f.address+"/extension/invoke", "application/json", strings.NewReader(`{"traceId":"`+id+`"}`))
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("invocation event: %v, %v", res, err)
			}
			res.Body.Close()
		}
		events := []string{
			`{"name":"platform.start","startTime":"2023-02-01T00:03:50.000Z","traceId":"` + id + `"}`,
			fmt.Sprintf(`{"name":"function","startTime":"2023-02-01T00:03:50.000Z","logs":"[Function]line %d"}`, i),
			`{"name":"platform.RuntimeDone","startTime":"2023-02-01T00:03:50.000Z","traceId":"` + id + `","status":" success "}`,
		}
		f.deliver(events...)
		want = append(want, events...)
	}
	// What it logged comes back.
	var own int64
	for line := range strings.Lines(p.Stderr()) {
		if strings.HasPrefix(line, "ingest[") {
			event, err := json.Marshal(map[string]string{"name": "extension", "logs": "[Extension]" + line})
			must(t, err)
			f.deliver(string(event))
			own++
		}
	}
	other := `{"name":"extension","startTime":"2023-02-01T00:03:50.000Z","logs":"[Extension]ingest[x] somebody else"}`
	f.deliver(other)
	want = append(want, other)
	code, l := p.MustStop(t)
	if code != 0 || l.Delivered != int64(len(want)) || l.OwnLines != own || own == 0 || l.InFlight != 0 {
		t.Errorf("exit %d, %d own lines, ledger %+v", code, own, l)
	}
	got := values(kafkatest.Kcat(t, k.Bootstrap(), "extension"))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d events arrived, %d were sent, or they differ", len(got), len(want))
	}
}

// Bad settings, and no Kafka at all: the function sees nothing but 200, the ledger tells what was dropped,
// the exit code is 0.
func TestExtensionWithBadSettingsAnswersAndCounts(t *testing.T) {
	for name, env := range map[string][]string{
		"no settings":       nil,
		"an unreadable one": {"INGEST_BROKERS=127.0.0.1:9", "INGEST_TOPIC=t", "INGEST_MAX_BODY=plenty"},
		"a bad one":         {"INGEST_BROKERS=127.0.0.1:9", "INGEST_TOPIC=t", "INGEST_CODEC=zip"},
	} {
		t.Run(name, func(t *testing.T) {
			f, api := startPlatform(t)
			o := extension(proc.Build(t), api, env...)
			o.Args = []string{"extension"}
			p := proc.StartUnready(t, o)
			f.deliver(`{"name":"function","logs":"x"}`, `{"name":"function","logs":"y"}`, `no JSON`)
			code, l := p.MustStop(t)
			if code != 0 || l.Admitted != 3 || l.Dropped["bad_config"] != 3 {
				t.Errorf("exit %d, ledger %+v", code, l)
			}
			if n := strings.Count(p.Stderr(), "bad settings"); n != 1 {
				t.Errorf("said %d times:\n%s", n, p.Stderr())
			}
		})
	}
}

// Nobody else in the instance can feed events when the path cannot be guessed.
func TestExtensionWithARandomTelemetryPath(t *testing.T) {
	f, api := startPlatform(t)
	o := extension(proc.Build(t), api, "INGEST_TELEMETRY_PATH=random", "INGEST_SINK=ndjson", "INGEST_OUTPUT="+t.TempDir()+"/out")
	p := proc.Start(t, o)
	f.deliver(`{"name":"function","logs":"x"}`)
	res, err := client.Post("http://"+f.address+"/", "application/json", strings.NewReader(`[{}]`))
	must(t, err)
	defer res.Body.Close()
	if len(f.telemetry()) < len("http://127.0.0.1:8081/")+20 || res.StatusCode != 404 {
		t.Errorf("telemetry goes to %s; / answers %d", f.telemetry(), res.StatusCode)
	}
	if code, l := p.MustStop(t); code != 0 || l.Delivered != 1 {
		t.Errorf("exit %d, ledger %+v", code, l)
	}
}
