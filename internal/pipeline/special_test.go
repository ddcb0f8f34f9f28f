package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/internal/invocation"
	"functiongraph-ingest/internal/listen"
	"functiongraph-ingest/internal/ownlog"
)

// counting is a fake sink that counts its flushes, and how often it is woken.
type counting struct {
	fake
	mu      sync.Mutex
	flushes int
	woken   atomic.Int32
}

func (c *counting) Wake() { c.woken.Add(1) }

func (c *counting) Flush() { c.mu.Lock(); c.flushes++; c.mu.Unlock() }

func (c *counting) flushed() int { c.mu.Lock(); defer c.mu.Unlock(); return c.flushes }

// beside starts a pipeline as an extension has it; every answer comes when its events are in the sink.
func beside(t *testing.T, path string, own *ownlog.Log) (*Pipeline, *counting) {
	t.Helper()
	s := &counting{}
	p := New(Config{
		Listen: listen.Config{
			Addr: "127.0.0.1:0", MaxBodyBytes: 1 << 20, AdmitWait: time.Minute, AckTimeout: time.Minute,
			ReadTimeout: time.Minute, IdleTimeout: time.Minute, WaitForAck: true, TelemetryPath: path,
		},
		GateBytes: 4 << 20, RingItems: 16, ShutdownTimeout: 20 * time.Second,
	}, Deps{Sink: s, Invocations: invocation.New(), OwnLog: own})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		balanced(t, p)
	})
	return p, s
}

func mustPost(t *testing.T, p *Pipeline, path, body string) int {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Post("http://"+p.Addr()+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func invoke(t *testing.T, p *Pipeline, path, id string) {
	t.Helper()
	if code := mustPost(t, p, path, `{"traceId": "`+id+`", "invokedFunctionUrn": "sn:cn:yrk:1111:function:0@test@hello:latest"}`); code != 200 {
		t.Fatalf("invocation event on %s: %d", path, code)
	}
}

// The reference prints two paths for invocation events.
func TestContradictionInvocationEventsComeOnBothPaths(t *testing.T) {
	p, s := beside(t, "/", nil)
	invoke(t, p, "/extension/invoke", "a")
	invoke(t, p, "/extension/register", "b")
	if n := p.invocations.Stats().Open; n != 2 {
		t.Errorf("%d open", n)
	}
	mustPost(t, p, "/", `[{"name":"platform.runtimeDone","traceId":"a"}]`)
	if s.flushed() != 0 {
		t.Error("flushed with one open")
	}
	mustPost(t, p, "/", `[{"name":"platform.runtimeDone","traceId":"b"}]`)
	if s.flushed() != 1 {
		t.Error("not flushed when the last one ended")
	}
}

// A sink that rests because nobody waits is told that events will come.
func TestInvocationWakesTheSink(t *testing.T) {
	p, s := beside(t, "/", nil)
	if s.woken.Load() != 0 {
		t.Error("woken before anything happened")
	}
	invoke(t, p, "/extension/invoke", "a")
	if s.woken.Load() != 1 {
		t.Error("not woken by an invocation event")
	}
}

// Names as the reference prints them: with stray blanks, a capital R, a trailing comma.
func TestContradictionNamesOfTheEndOfAnInvocation(t *testing.T) {
	for _, name := range []string{
		"platform.RuntimeDone", "platform.runtimeDone", " platform.RuntimeDone ", "PLATFORM.RUNTIMEDONE", "platform.RuntimeDone,",
		"platform.report", " platform.report", "platform.report ",
	} {
		p, s := beside(t, "/", nil)
		mustPost(t, p, "/", `[{"name":" platform.start ","startTime":"2023-02-01T00:03:50.000Z ","traceId":" a "}]`)
		if n := p.invocations.Stats().Open; n != 1 {
			t.Errorf("%d open after platform.start", n)
		}
		mustPost(t, p, "/", `[{"name":"`+name+`","startTime":"2023-02-01T00:03:50.000Z","traceId":"a","status":" success "}]`)
		if n := p.invocations.Stats().Open; n != 0 || s.flushed() != 1 {
			t.Errorf("%q: %d open, %d flushes", name, n, s.flushed())
		}
	}
}

// The report object has two names, and one of its keys a blank: both are delivered as they are.
func TestContradictionMetricsAndReportMetrics(t *testing.T) {
	p, s := beside(t, "/", nil)
	for _, key := range []string{"metrics", "reportMetrics"} {
		mustPost(t, p, "/", `[{"name":"platform.report","traceId":"a","`+key+`":{"durationMs":10.6," memorySize ":128,"podName":"p"}}]`)
	}
	if n := s.Stats().Delivered; n != 2 {
		t.Errorf("%d delivered", n)
	}
}

// Two samples of the reference are no JSON: they are dead letters, and the answer is 200.
func TestContradictionSamplesThatAreNoJSON(t *testing.T) {
	p, _ := beside(t, "/", nil)
	body := `[{"name": " platform.initRuntimeDone", "startTime": "2023-02-01T00:03:50.000Z", "traceId": "69be64a7", "status":" success ",},
	{"name": " platform.initReport", "reportMetrics": {"durationMs": 10.6, " memorySize ": 128, "podName": pool22-300-128-fusion-64774779-4g77v,}}]`
	if code := mustPost(t, p, "/", body); code != 200 {
		t.Errorf("answered %d", code)
	}
	if l := p.Ledger(); l.Admitted != 2 {
		t.Errorf("admitted %d", l.Admitted)
	}
}

// The init phase is no invocation: its end says nothing about those that run.
func TestInitPhaseIsNoInvocation(t *testing.T) {
	p, s := beside(t, "/", nil)
	mustPost(t, p, "/", `[{"name":"platform.initStart","traceId":"i"},{"name":"platform.initRuntimeDone","traceId":"i"},{"name":"platform.initReport","traceId":"i"}]`)
	if n := p.invocations.Stats().Open; n != 0 || s.flushed() != 0 {
		t.Errorf("%d open, %d flushes", n, s.flushed())
	}
}

// A thousand at once: one flush, when the last one has ended.
func TestOneFlushForAThousandInvocations(t *testing.T) {
	p, s := beside(t, "/", nil)
	var starts, ends bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&starts, `{"name":"platform.start","traceId":"t%d"},`, i)
		if i > 0 {
			fmt.Fprintf(&ends, `{"name":"platform.RuntimeDone","traceId":"t%d"},`, i)
		}
	}
	mustPost(t, p, "/", "["+strings.TrimSuffix(starts.String(), ",")+"]")
	mustPost(t, p, "/", "["+strings.TrimSuffix(ends.String(), ",")+"]")
	if n := p.invocations.Stats().Open; n != 1 || s.flushed() != 0 {
		t.Fatalf("%d open, %d flushes", n, s.flushed())
	}
	mustPost(t, p, "/", `[{"name":"function","logs":"[Function]bye"},{"name":"platform.RuntimeDone","traceId":"t0"}]`)
	if s.flushed() != 1 {
		t.Errorf("%d flushes", s.flushed())
	}
}

func TestOnlyTheSecretPathTakesTelemetry(t *testing.T) {
	p, s := beside(t, "/s3cret", nil)
	for _, path := range []string{"/", "/v1/events", "/s3cre", "/s3cret/"} {
		if code := mustPost(t, p, path, `[{}]`); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
	res, err := http.Post("http://"+p.Addr()+"/", "", strings.NewReader("[{}]"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); strings.Contains(string(text), "s3cret") {
		t.Errorf("the answer tells the secret: %s", text)
	}
	http.DefaultClient.CloseIdleConnections()
	if code := mustPost(t, p, "/s3cret", `[{}]`); code != 200 || s.Stats().Delivered != 1 {
		t.Errorf("%d, %d delivered", code, s.Stats().Delivered)
	}
}

// One fault, a line for every delivery, every line posted back as the platform does: the lines do not
// multiply, none reaches the topic, and the log itself stays within its limit.
func TestOneFaultCannotGrowIntoAStream(t *testing.T) {
	for _, delivered := range []bool{false, true} {
		var out bytes.Buffer
		now := time.Unix(1e9, 0)
		log := ownlog.New(&out, false, false, func() time.Time { return now })
		var own *ownlog.Log
		if !delivered { // --own-logs
			own = log
		}
		p, s := beside(t, "/", own)
		const rounds = 600 // one a second
		posted := int64(0)
		fmt.Fprintln(log, "the first fault")
		for range rounds {
			var events []map[string]string
			for line := range strings.Lines(out.String()) {
				events = append(events, map[string]string{"name": "extension", "startTime": "2023-02-01T00:03:50.000Z", "logs": "[Extension]" + line})
			}
			out.Reset()
			if len(events) > 0 {
				body, err := json.Marshal(events)
				if err != nil {
					t.Fatal(err)
				}
				posted += int64(len(events))
				mustPost(t, p, "/", string(body))
			}
			for range 1 + 2*len(events) { // as bad as it gets: two new lines for every one that came back
				fmt.Fprintln(log, "another fault")
			}
			now = now.Add(time.Second)
		}
		// A burst of 30, then six a minute; a note on what was suppressed may come with each.
		if most := int64(2 * (30 + 6*rounds/60)); posted > most {
			t.Errorf("own-logs=%v: %d lines went round in %d s, at most %d may", delivered, posted, rounds, most)
		}
		l := p.Ledger()
		if !delivered && (l.OwnLines != posted || s.Stats().Delivered != 0 || l.Admitted != 0) {
			t.Errorf("own %d of %d posted, delivered %d, admitted %d", l.OwnLines, posted, s.Stats().Delivered, l.Admitted)
		}
		if delivered && (l.OwnLines != 0 || s.Stats().Delivered != posted) {
			t.Errorf("own %d, delivered %d of %d", l.OwnLines, s.Stats().Delivered, posted)
		}
	}
}
