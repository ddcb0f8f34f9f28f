package fgsim

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/internal/simulator"
)

const shortTraffic = `
name: test
ready: 60s
traffic: {duration: 200ms, concurrency: 20, connections: 2, batch: 20, rate: 2000}
stop: {grace: 60s}
`

func scenario(t *testing.T, text string, overrides ...string) *Scenario {
	t.Helper()
	s, err := Parse([]byte(text), overrides...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// play runs a scenario with a stub that has the given faults.
func play(t *testing.T, s *Scenario, faults string, more ...func(*Options)) *Report {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Scenario: s, Command: []string{self}, Name: stubName, Env: []string{stubVariable + "=" + faults, "GOMAXPROCS=1"}, Neighbour: []string{self, neighbourVariable},
	}
	for _, m := range more {
		m(&o)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + text.String())
		}
	})
	for _, v := range r.Violations {
		if !strings.Contains(text.String(), v.Code) || v.Text == "" || v.Count < 1 {
			t.Errorf("the text does not tell %+v", v)
		}
	}
	if p := r.Posts; p.Events != p.Acked+p.Lost+p.TooLarge+p.AfterStop {
		t.Errorf("out of balance: %+v", p)
	}
	return r
}

func TestAGoodExtension(t *testing.T) {
	r := play(t, scenario(t, shortTraffic, "platform.invoke=both"), "good chatty")
	if !r.OK() || len(r.Violations) > 0 {
		t.Errorf("%+v", r.Violations)
	}
	if r.RegisteredMs <= 0 || r.SubscribedMs < r.RegisteredMs {
		t.Errorf("registered %v, subscribed %v", r.RegisteredMs, r.SubscribedMs)
	}
	if r.Posts.Acked == 0 || r.Posts.Acked != r.Posts.Events || r.Posts.Echoed == 0 || r.Posts.ByStatus["200"] != r.Posts.Bodies {
		t.Errorf("%+v", r.Posts)
	}
	if r.Invocations.Sent == 0 || r.Invocations.ByStatus["200"] != r.Invocations.Sent || r.Latency.Max <= 0 || r.Latency.P50 > r.Latency.Max {
		t.Errorf("%+v %+v", r.Invocations, r.Latency)
	}
	if p := r.Process; p.IdleRSS < 1<<20 || p.PeakRSS < p.IdleRSS || p.CPUMs <= 0 || p.Switches <= 0 || p.Threads < 1 {
		t.Errorf("%+v", p)
	}
	if r.Exit.Code != 0 || r.Exit.TookMs <= 0 || !slices.Contains(r.Printed.Tail, "the stub ends") {
		t.Errorf("%+v %+v", r.Exit, r.Printed)
	}
	text, err := json.Marshal(r)
	if err != nil || !bytes.Contains(text, []byte(`"violations":[]`)) {
		t.Errorf("%s %v", text, err)
	}
}

// The simulator's own memory is not the extension's.
func TestPeakWithoutTheSimulators(t *testing.T) {
	own := make([]byte, 256<<20)
	for i := 0; i < len(own); i += 4096 {
		own[i] = 1
	}
	r := play(t, scenario(t, shortTraffic), "good")
	if p := r.Process; p.PeakRSS < 1<<20 || p.PeakRSS > int64(len(own))/2 {
		t.Errorf("peak %d", p.PeakRSS)
	}
	runtime.KeepAlive(own)
}

// Every wrong extension is named.
func TestWrongExtensions(t *testing.T) {
	for _, tt := range []struct {
		faults string
		want   []string // codes
	}{
		{"wrong-port", []string{BadPort, Died}},
		{"no-name", []string{BadExtensionName, Died}},
		{"other-name", []string{BadExtensionName, Died}},
		{"no-address", []string{BadExtensionAddress, Died}},
		{"all-interfaces", []string{BadExtensionAddress, Died}},
		{"no-content-type", []string{BadContentType, Died}},
		{"deaf", []string{NotListening, Died}},
		{"put", []string{BadMethod, Died}},
		{"typo", []string{BadPath}},
		{"registers-twice", []string{RegisteredTwice}},
		{"subscribes-first", []string{NotRegistered}},
		{"subscribes-twice", []string{SecondSubscriber}},
		{"no-json", []string{BadSubscription, Died}},
		{"protocol", []string{BadSubscription, Died}},
		{"no-types", []string{BadSubscription, Died}},
		{"unknown-type", []string{BadSubscription, Died}},
		{"other-port", []string{OtherPort, Died}},
		{"no-subscription", []string{NeverSubscribed}},
		{"absent", []string{NeverRegistered}},
		{"stillborn", []string{Died}},
		{"ignores-invocations", []string{NotAcknowledged}},
		{"mute", []string{NoAnswer}},
		{"stubborn", []string{Killed}},
	} {
		t.Run(tt.faults, func(t *testing.T) {
			s := scenario(t, shortTraffic, "ready=60s", "stop.grace=60s") // a busy machine must add no violation
			switch {
			case slices.Contains(tt.want, NeverRegistered):
				s.Ready = 100 * time.Millisecond
			case slices.Contains(tt.want, NeverSubscribed):
				s.Ready = 2 * time.Second // the stub has to register within it
			case slices.Contains(tt.want, Killed):
				s.Stop.Grace = 100 * time.Millisecond
			}
			r := play(t, s, tt.faults)
			var codes []string
			for _, v := range r.Violations {
				codes = append(codes, v.Code)
			}
			if !slices.Equal(codes, tt.want) || r.OK() {
				t.Errorf("%q, want %q", codes, tt.want)
			}
		})
	}
}

func TestAnswersOtherThan200(t *testing.T) {
	r := play(t, scenario(t, shortTraffic), "500")
	if r.OK() || r.Posts.Lost == 0 || r.Posts.Acked != 0 || r.Posts.ByStatus["500"] != r.Posts.Bodies || len(r.Violations) > 0 {
		t.Errorf("%+v", r.Posts)
	}
	r = play(t, scenario(t, shortTraffic, "platform.resend=20", "platform.resendAfter=1ms"), "flaky")
	if !r.OK() || r.Posts.Resent == 0 || r.Posts.ByStatus["503"] != r.Posts.Resent {
		t.Errorf("%+v", r.Posts)
	}
}

func TestAnExtensionThatDiesUnderLoad(t *testing.T) {
	r := play(t, scenario(t, shortTraffic, "traffic.duration=30s"), "dies")
	if !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Code == Died && strings.Contains(v.Text, "exit status 9") }) || r.Exit.Code != 9 {
		t.Errorf("%+v %+v", r.Violations, r.Exit)
	}
}

// posts is a Recorder that counts.
type posts struct {
	mu    sync.Mutex
	ids   map[simulator.ID]int
	sizes int
}

func (p *posts) Posted(d *simulator.Delivery, _ int, _ time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sizes += len(d.Body)
	for _, e := range d.Events {
		p.ids[e.ID]++
	}
}

func TestThePlatformsOwnFaults(t *testing.T) {
	rec := &posts{ids: map[simulator.ID]int{}}
	r := play(t, scenario(t, shortTraffic, "platform={broken: 0.3, duplicate: 0.3, chunked: 0.3, slow: 0.1, slowFor: 20ms, oversize: 0.3, size: 2MiB, slips: 0.5}",
		"traffic.duration=1s"), "good", func(o *Options) { o.Recorder = rec })
	p := r.Posts
	if p.Duplicates == 0 || p.Chunked == 0 || p.Slow == 0 || p.Oversize == 0 || p.TooLarge != p.Oversize || p.ByStatus["413"] < p.Oversize || p.Lost > 0 || !r.OK() {
		t.Errorf("%+v", p)
	}
	var twice int64
	for _, n := range rec.ids {
		if n > 1 {
			twice++
		}
	}
	if int64(len(rec.ids)) != p.Events || twice < p.Duplicates || int64(rec.sizes) != p.Bytes {
		t.Errorf("%d ids, %d twice, %d bytes; %+v", len(rec.ids), twice, rec.sizes, p)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	r := play(t, scenario(t, shortTraffic, "freeze={times: 3, for: 50ms}"), "good")
	if !r.OK() || r.Freezes != 3 || r.Posts.Acked != r.Posts.Events {
		t.Errorf("%d freezes, %+v", r.Freezes, r.Posts)
	}
}

func TestSIGTERMUnderLoad(t *testing.T) {
	r := play(t, scenario(t, shortTraffic, "stop.underLoad=true", "traffic.rate=0"), "good")
	if !r.OK() || r.Exit.Code != 0 {
		t.Errorf("%+v %+v", r.Posts, r.Exit)
	}
}

func TestIdleAndNeighbour(t *testing.T) {
	r := play(t, scenario(t, "{ready: 60s, stop: {grace: 60s}, idle: 100ms, neighbour: {window: 200ms, pairs: 2}, traffic: {rate: 1000}}"), "good")
	if !r.OK() || r.Idle == nil || r.Idle.ForMs < 100 || r.Idle.Share < 0 || r.Idle.Share > 1 {
		t.Errorf("%+v", r.Idle)
	}
	if n := r.Neighbour; n == nil || n.Alone <= 0 || n.Beside <= 0 || n.Slower >= 1 || n.Events <= 0 || n.Share <= 0 || n.Share > 1 ||
		n.AloneMs.P50 <= 0 || n.AloneMs.P99 > n.AloneMs.Max || n.BesideMs.P50 <= 0 {
		t.Errorf("%+v", n)
	}
}

func TestInvocationsOnly(t *testing.T) {
	r := play(t, scenario(t, shortTraffic, "noTelemetry=true"), "no-subscription")
	if !r.OK() || r.Invocations.Sent == 0 || r.Posts.Bodies > 0 {
		t.Errorf("%+v", r)
	}
}

func TestLimits(t *testing.T) {
	s := scenario(t, shortTraffic, "limits={memory: 64MiB, cpu: 0.5}")
	l := limit(s.Limits)
	defer l.remove()
	if strings.HasPrefix(l.text, "NOT LIMITED") {
		if len(l.dirs) > 0 {
			t.Errorf("%+v", l)
		}
		r := play(t, s, "good")
		if !r.OK() || !strings.HasPrefix(r.Limits, "NOT LIMITED to 64 MiB, 0.5 cores: ") {
			t.Errorf("%+v", r)
		}
		return
	}
	if r := play(t, s, "good"); !r.OK() || !strings.HasSuffix(r.Limits, "64 MiB, 0.5 cores") {
		t.Errorf("%+v", r)
	}
	r := play(t, scenario(t, shortTraffic, "traffic.duration=30s", "limits={memory: 64MiB}"), "fat")
	if !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Code == OutOfMemory }) {
		t.Errorf("%+v", r.Violations)
	}
}

// makeZip writes a package.
func makeZip(t *testing.T, mode os.FileMode, files map[string]string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "package.zip")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for file, text := range files {
		h := &zip.FileHeader{Name: file}
		h.SetMode(mode)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// The start script may become the extension, or start it in the background and end.
func TestPackage(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"exec":       "#!/bin/sh\nexec " + self + "\n",
		"background": "#!/bin/sh\n" + self + " &\n",
		"no shebang": self + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := makeZip(t, 0o755, map[string]string{"extension/" + stubName: script, "extension/data/x": "x"})
			r := play(t, scenario(t, shortTraffic), "good", func(o *Options) { o.Command, o.Name, o.Package = nil, "", file })
			if !r.OK() || r.Posts.Acked == 0 || !slices.Contains(r.Printed.Tail, "the stub ends") {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestBadPackages(t *testing.T) {
	many := map[string]string{"extension/extensionA.sh": "#!/bin/sh"}
	for i := range maxFiles {
		many[fmt.Sprintf("f/%d", i)] = ""
	}
	for name, tt := range map[string]struct {
		files map[string]string
		mode  os.FileMode
		want  string // of the error, or of the note
	}{
		"no script":        {map[string]string{"extension/run.sh": ""}, 0o755, "no start script"},
		"script elsewhere": {map[string]string{"extensionA.sh": ""}, 0o755, "no start script"},
		"tilde":            {map[string]string{"extension/extensionA.sh": "", "extension/extensionA.sh~": ""}, 0o755, "ends in ~"},
		"no x bit":         {map[string]string{"extension/extensionA.sh": ""}, 0o644, "no x bit"},
		"two scripts":      {map[string]string{"extension/extensionA.sh": "", "extension/extensionB.sh": ""}, 0o755, "2 start scripts"},
		"leads out":        {map[string]string{"extension/extensionA.sh": "", "../x": ""}, 0o755, "leads out"},
		"too many files":   {many, 0o755, "30001 files"},
	} {
		t.Run(name, func(t *testing.T) {
			var v violations
			dir := filepath.Join(t.TempDir(), "package")
			_, err := unpack(makeZip(t, tt.mode, tt.files), dir, v.note)
			if got := fmt.Sprint(err, v.all()); !strings.Contains(got, tt.want) {
				t.Errorf("%s, want %q", got, tt.want)
			}
		})
	}
}
