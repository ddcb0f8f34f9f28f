package fgsim

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"functiongraph-ingest/bench/hist"
	"functiongraph-ingest/internal/simulator"
)

const (
	maxLag     = 250 * time.Millisecond // what a sender that is late tries to catch up with, at most
	echoLines  = 100                    // printed lines of one body, at most
	maxInvokes = 64                     // invocation events on their way at once, per sender
)

// traffic sends invocation events and telemetry. Its senders are separate instances as far as the order
// of events goes: all events of an invocation come from one sender, one body at a time.
type traffic struct {
	scenario *Scenario
	invoke   func(path string) string
	uri      string // of the telemetry; "" for none
	echo     *lines // nil when printed lines are not sent back
	recorder Recorder
	note     func(code, text string)
	client   http.Client
	senders  []*sender
	stopping atomic.Bool // SIGTERM is sent: an answer is not owed any more

	mu        sync.Mutex
	posts     Posts
	invokes   map[string]int64
	telemetry hist.Hist
	events    hist.Hist // invocation events
}

type sender struct {
	*traffic
	generator *simulator.Generator
	delivery  simulator.Delivery
	extra     simulator.Delivery
	rng       *rand.Rand
	invoked   int
}

func newTraffic(s *Scenario, a *api, echo *lines, r Recorder, note func(code, text string)) *traffic {
	t := &traffic{
		scenario: s, invoke: a.invokeURL, recorder: r, note: note, invokes: map[string]int64{}, posts: Posts{ByStatus: map[string]int64{}},
		client: http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: s.Traffic.Connections * (1 + maxInvokes), DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // the platform posts to the address it was given
			},
		},
	}
	var wanted []string
	if sub := a.telemetry(); sub != nil {
		t.uri, wanted = sub.Subscriber.URI, sub.Types
		for _, w := range wanted {
			if w == "extension" && !s.Platform.NoEcho {
				t.echo = echo
			}
		}
	}
	n := s.Traffic.Connections
	for i := range n {
		concurrency := s.Traffic.Concurrency / n
		if i < s.Traffic.Concurrency%n {
			concurrency++
		}
		t.senders = append(t.senders, &sender{
			traffic: t, rng: rand.New(rand.NewPCG(s.Seed, uint64(1+i))),
			generator: simulator.New(simulator.Config{
				Seed: s.Seed, Stream: uint16(i), Concurrency: concurrency, Steady: s.Traffic.Steady, MaxEvents: s.Traffic.Batch, Logs: s.Traffic.Logs, Types: wanted,
				Slips: s.Platform.Slips, Broken: s.Platform.Broken, LogTraces: s.Platform.LogTraces, Late: s.Platform.Late,
				Cold: s.Platform.Cold && i == 0, Start: time.Now(), Now: time.Now,
			}),
		})
	}
	return t
}

// run sends for so long.
func (t *traffic) run(ctx context.Context, d time.Duration) {
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range t.senders {
		wg.Go(func() { s.run(ctx, until) })
	}
	wg.Wait()
}

// finish lets all invocations end, and sends what the extension printed: then nothing is on its way.
func (t *traffic) finish(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range t.senders {
		wg.Go(func() {
			for ctx.Err() == nil && s.generator.Finish(&s.delivery) {
				s.post(ctx, &s.delivery)
			}
		})
	}
	wg.Wait()
	t.sendBack(ctx)
}

// sendBack sends what the extension has printed so far. What it prints because of that waits for the next time.
func (t *traffic) sendBack(ctx context.Context) {
	if s := t.senders[0]; t.echo != nil {
		printed := t.echo.take(echoLines)
		if t.scenario.Platform.MarkedOnly {
			printed = slices.DeleteFunc(printed, func(line string) bool { return !strings.HasPrefix(line, simulator.ExtensionMark) })
		}
		if len(printed) > 0 {
			s.generator.Logs(&s.extra, printed)
			t.count(func(p *Posts) { p.Echoed += int64(len(printed)) })
			s.post(ctx, &s.extra)
		}
	}
}

// run sends until the second context ends; what is on its way then is finished.
func (s *sender) run(ctx, until context.Context) {
	p := pace{rate: s.scenario.Traffic.Rate / float64(len(s.senders)), burst: s.scenario.Traffic.Burst, begun: time.Now()}
	for until.Err() == nil && wait(until, time.Until(p.due())) {
		s.generator.Next(&s.delivery)
		s.begin(ctx, s.delivery.Begun)
		s.post(ctx, &s.delivery)
		p.sent(len(s.delivery.Events))
		if s.chance(s.scenario.Platform.Oversize) {
			s.generator.Large(&s.extra, int(s.scenario.Platform.Size))
			s.post(ctx, &s.extra)
		}
		if s == s.senders[0] {
			s.sendBack(ctx)
		}
	}
}

// pace says when the next body is due.
type pace struct {
	rate, burst float64
	begun       time.Time
	owed        time.Duration // since begun, in a time without bursts
}

// due maps the steady time to one in which each second's events come in the first part of it.
func (p *pace) due() time.Time {
	whole := p.owed.Truncate(time.Second)
	return p.begun.Add(whole + time.Duration(float64(p.owed-whole)/p.burst))
}

func (p *pace) sent(events int) {
	if p.rate <= 0 {
		return
	}
	p.owed += time.Duration(float64(events) / p.rate * float64(time.Second))
	// In bursts one is ahead of the steady time for most of a second.
	p.owed = max(p.owed, time.Since(p.begun)-maxLag-time.Duration((1-1/p.burst)*float64(time.Second)))
}

// wait is false when ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// begin sends the invocation events and waits for their answers: telemetry of an invocation comes after.
func (s *sender) begin(ctx context.Context, traces []string) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxInvokes)
	for _, trace := range traces {
		path := "/extension/invoke"
		if how := s.scenario.Platform.Invoke; how == "register" || how == "both" && s.invoked%2 == 1 {
			path = "/extension/register"
		}
		s.invoked++
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			s.tell(ctx, path, trace)
		})
	}
	wg.Wait()
}

// acked is how many events were answered 200 so far.
func (t *traffic) acked() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.posts.Acked
}

// result is what was counted so far.
func (t *traffic) result() (posts Posts, invocations Invocations, telemetry Latency) {
	t.mu.Lock()
	defer t.mu.Unlock()
	posts = t.posts
	posts.ByStatus = maps.Clone(t.posts.ByStatus)
	invocations = Invocations{ByStatus: maps.Clone(t.invokes), Latency: latencyOf(&t.events)}
	for _, n := range t.invokes {
		invocations.Sent += n
	}
	return posts, invocations, latencyOf(&t.telemetry)
}

func latencyOf(h *hist.Hist) Latency {
	return Latency{P50: millis(h.Quantile(0.5)), P90: millis(h.Quantile(0.9)), P99: millis(h.Quantile(0.99)), Max: millis(h.Max())}
}

// millis is a duration in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
