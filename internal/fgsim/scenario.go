package fgsim

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Scenario says what the platform does, in this order: start the extension and wait until it has subscribed,
// measure the idle process, measure the neighbour, send traffic with freezes, stop. The zero value of every
// field has the meaning that stands beside it.
type Scenario struct {
	Name string `yaml:"name"`
	Seed uint64 `yaml:"seed"` // of the telemetry: the same seed makes the same events; 0

	Ready       time.Duration `yaml:"ready"`       // to register and subscribe within; 10s
	NoTelemetry bool          `yaml:"noTelemetry"` // the extension wants invocation events only; false
	Idle        time.Duration `yaml:"idle"`        // how long to measure the idle process; 0 does not

	Neighbour Neighbour `yaml:"neighbour"`
	Traffic   Traffic   `yaml:"traffic"`
	Platform  Platform  `yaml:"platform"`
	Freeze    Freeze    `yaml:"freeze"`
	Stop      Stop      `yaml:"stop"`
	Limits    Limits    `yaml:"limits"`
}

// Traffic is the load of normal operation.
type Traffic struct {
	Duration    time.Duration `yaml:"duration"`    // 0: none
	Connections int           `yaml:"connections"` // that telemetry is posted over, each one body at a time; 1
	Concurrency int           `yaml:"concurrency"` // invocations at once, at most 1,000; 100
	Steady      bool          `yaml:"steady"`      // that many invocations all the time, not in bursts; false
	Logs        int           `yaml:"logs"`        // lines that an invocation logs, at most; 8
	Batch       int           `yaml:"batch"`       // events of a body, at most; 200
	Rate        float64       `yaml:"rate"`        // events per second; 0: as fast as they are answered
	Burst       float64       `yaml:"burst"`       // the events of a second are posted in its first 1/burst; 1
}

// Platform holds what the reference does not say, and what goes wrong. Shares are 0 to 1; all are 0.
type Platform struct {
	Invoke      string        `yaml:"invoke"`      // path of invocation events: invoke, register or both in turn; invoke
	Resend      int           `yaml:"resend"`      // times that a body is sent again after an answer that is not 200; 0
	ResendAfter time.Duration `yaml:"resendAfter"` // 100ms
	Timeout     time.Duration `yaml:"timeout"`     // for an answer; 30s

	Slips     float64       `yaml:"slips"`     // share of events spelled like the samples of the reference
	Broken    float64       `yaml:"broken"`    // share of bodies that are not valid JSON
	Duplicate float64       `yaml:"duplicate"` // share of bodies sent once more after a 200
	Chunked   float64       `yaml:"chunked"`   // share of bodies sent without a length
	Slow      float64       `yaml:"slow"`      // share of bodies that trickle in
	SlowFor   time.Duration `yaml:"slowFor"`   // how long one of them takes; 1s
	Oversize  float64       `yaml:"oversize"`  // share of bodies followed by one that is too large
	Size      Bytes         `yaml:"size"`      // of such a one; 8MiB

	LogTraces  float64 `yaml:"logTraces"`  // share of the function's log lines that have a traceId
	Late       float64 `yaml:"late"`       // share of the function's log lines that come after their invocation has ended
	Cold       bool    `yaml:"cold"`       // the first invocation waits until the instance is initialised; false
	MarkedOnly bool    `yaml:"markedOnly"` // collect only lines that begin with [Extension] of what the extension prints; false

	NoEcho bool `yaml:"noEcho"` // do not send what the extension prints back to it as extension events; false
}

// Freeze stops the process between invocations, when all of them have ended.
type Freeze struct {
	Times int           `yaml:"times"` // spread over the duration of the traffic; 0
	For   time.Duration `yaml:"for"`   // 1s
}

// Stop is the end: SIGTERM, and SIGKILL when the grace is over.
type Stop struct {
	Grace     time.Duration `yaml:"grace"`     // 2s
	UnderLoad bool          `yaml:"underLoad"` // telemetry goes on while the extension stops; false
}

// Limits hold for the extension and the neighbour together, as in an instance. They need cgroups.
type Limits struct {
	Memory Bytes   `yaml:"memory"` // 0: none
	CPU    float64 `yaml:"cpu"`    // cores; 0: no limit
}

// Neighbour is a function that needs a whole core, beside the extension on the same core.
type Neighbour struct {
	Window time.Duration `yaml:"window"` // of measuring, alternately without and with telemetry; 0: no neighbour
	Pairs  int           `yaml:"pairs"`  // of windows; 4
}

// Bytes is a size. In YAML: a number, with or without B, KB, MB, GB, KiB, MiB or GiB.
type Bytes int64

// UnmarshalYAML implements the interface of the YAML library.
func (b *Bytes) UnmarshalYAML(text []byte) error {
	s := strings.Trim(strings.TrimSpace(string(text)), `"'`)
	number := strings.TrimRight(s, "BKMGikmgb ")
	n, err := strconv.ParseFloat(number, 64)
	unit, ok := map[string]float64{"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}[strings.ToUpper(strings.TrimSpace(s[len(number):]))]
	if err != nil || !ok || n < 0 || n*unit > math.MaxInt32 {
		return fmt.Errorf("%q is no size such as 128MiB (2 GiB at most)", s)
	}
	*b = Bytes(n * unit)
	return nil
}

// Parse reads a scenario. Each of the overrides is "path=value", such as "traffic.rate=5000", and replaces
// what the file says. The result is complete: defaults are filled in.
func Parse(text []byte, overrides ...string) (*Scenario, error) {
	tree := map[string]any{}
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	for _, o := range overrides {
		path, value, ok := strings.Cut(o, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not of the form path=value", o)
		}
		if err := put(tree, strings.Split(path, "."), value); err != nil {
			return nil, fmt.Errorf("%s: %w", o, err)
		}
	}
	merged, err := yaml.Marshal(tree)
	if err != nil {
		return nil, err
	}
	s := new(Scenario)
	if err := yaml.UnmarshalWithOptions(merged, s, yaml.Strict()); err != nil {
		return nil, err
	}
	return s, s.complete()
}

// put sets one value of a tree. The value is YAML itself: "true" is a truth value.
func put(tree map[string]any, path []string, value string) error {
	for ; len(path) > 1; path = path[1:] {
		below, ok := tree[path[0]].(map[string]any)
		if !ok {
			if tree[path[0]] != nil {
				return fmt.Errorf("%s is no group", path[0])
			}
			below = map[string]any{}
			tree[path[0]] = below
		}
		tree = below
	}
	var v any
	if err := yaml.Unmarshal([]byte(value), &v); err != nil {
		return err
	}
	tree[path[0]] = v
	return nil
}

// complete fills in defaults and checks the rest.
func (s *Scenario) complete() error {
	def(&s.Ready, 10*time.Second)
	def(&s.Neighbour.Pairs, 4)
	def(&s.Traffic.Connections, 1)
	def(&s.Traffic.Concurrency, 100)
	def(&s.Traffic.Logs, 8)
	def(&s.Traffic.Batch, 200)
	def(&s.Traffic.Burst, 1)
	def(&s.Platform.Invoke, "invoke")
	def(&s.Platform.ResendAfter, 100*time.Millisecond)
	def(&s.Platform.Timeout, 30*time.Second)
	def(&s.Platform.SlowFor, time.Second)
	def(&s.Platform.Size, 8<<20)
	def(&s.Freeze.For, time.Second)
	def(&s.Stop.Grace, 2*time.Second)

	var bad []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	t, p := &s.Traffic, &s.Platform
	check(t.Concurrency >= 1 && t.Concurrency <= 1000, "traffic.concurrency is 1 to 1,000, not %d", t.Concurrency)
	check(t.Connections >= 1 && t.Connections <= t.Concurrency, "traffic.connections is 1 to traffic.concurrency (%d), not %d", t.Concurrency, t.Connections)
	check(t.Batch >= 1 && t.Logs >= 1, "traffic.batch and traffic.logs are at least 1, not %d and %d", t.Batch, t.Logs)
	check(t.Rate >= 0 && t.Burst >= 1, "traffic.rate is at least 0 and traffic.burst at least 1, not %v and %v", t.Rate, t.Burst)
	check(slices.Contains([]string{"invoke", "register", "both"}, p.Invoke), "platform.invoke is invoke, register or both, not %q", p.Invoke)
	for name, share := range map[string]float64{"slips": p.Slips, "broken": p.Broken, "duplicate": p.Duplicate, "chunked": p.Chunked, "slow": p.Slow, "oversize": p.Oversize, "logTraces": p.LogTraces, "late": p.Late} {
		check(share >= 0 && share <= 1, "platform.%s is a share, 0 to 1, not %v", name, share)
	}
	check(p.Resend >= 0 && p.Resend <= 1000, "platform.resend is 0 to 1,000, not %d", p.Resend)
	check(s.Freeze.Times >= 0 && s.Freeze.Times <= 1000, "freeze.times is 0 to 1,000, not %d", s.Freeze.Times)
	check(s.Freeze.Times == 0 || t.Duration > 0, "freeze.times needs traffic.duration")
	check(s.Neighbour.Pairs >= 1 && s.Neighbour.Pairs <= 1000, "neighbour.pairs is 1 to 1,000, not %d", s.Neighbour.Pairs)
	check(s.Limits.CPU >= 0, "limits.cpu is at least 0, not %v", s.Limits.CPU)
	for name, d := range map[string]time.Duration{
		"ready": s.Ready, "idle": s.Idle, "neighbour.window": s.Neighbour.Window, "traffic.duration": t.Duration, "platform.resendAfter": p.ResendAfter,
		"platform.timeout": p.Timeout, "platform.slowFor": p.SlowFor, "freeze.for": s.Freeze.For, "stop.grace": s.Stop.Grace,
	} {
		check(d >= 0 && d <= 24*time.Hour, "%s is 0 to 24h, not %v", name, d)
	}
	return errors.Join(bad...)
}

// def sets what was not given.
func def[T any](v *T, value T) {
	if reflect.ValueOf(v).Elem().IsZero() {
		*v = value
	}
}
