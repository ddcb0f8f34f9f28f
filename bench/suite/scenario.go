// Package suite runs the built binary, or any other HTTP-to-Kafka program, under scenarios that are data: a
// topology, loads, faults. It samples what the process uses up, checks at the broker that what was answered
// is there, and makes a report.
package suite

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"functiongraph-ingest/bench/load"
)

// Scenario is one experiment. See scenarios/ for examples.
type Scenario struct {
	Name  string `yaml:"name" json:"name"`
	Title string `yaml:"title" json:"title"`
	Text  string `yaml:"text" json:"text,omitempty"` // for the report's reader

	Kafka   Kafka    `yaml:"kafka" json:"kafka"`
	Targets []Target `yaml:"targets" json:"targets"` // none: ingest
	Args    []string `yaml:"args" json:"args"`       // of ingest serve, in all targets that are ingest
	CPU     float64  `yaml:"cpu" json:"cpu"`         // cores that a target may use; 0: all

	Rounds int `yaml:"rounds" json:"rounds"` // 1
	// WarmRounds come first and do not count, but for their problems: a new broker gets faster for a minute.
	WarmRounds int `yaml:"warmRounds" json:"warmRounds"`
	// Shared runs all loads of a round against one process, one after the other. Otherwise each load has a
	// new process and a new topic.
	Shared bool `yaml:"shared" json:"shared"`
	// Interleaved keeps the processes of all targets running through all rounds of a load; the load goes to them
	// in turn. Rounds can then be short and many, what the machine does to one it does to its neighbour as well,
	// and the summary has the ratio of their costs, pair by pair.
	Interleaved bool `yaml:"interleaved" json:"interleaved,omitempty"`

	WarmUp   Duration `yaml:"warmUp" json:"warmUp"`     // before each load, with its own load; 2s
	Duration Duration `yaml:"duration" json:"duration"` // that is measured of each load; 6s
	Loads    []Load   `yaml:"loads" json:"loads"`
	Charts   []string `yaml:"charts" json:"charts"`
}

// Kafka is the topology.
type Kafka struct {
	Brokers    int  `yaml:"brokers" json:"brokers"`       // 1
	Partitions int  `yaml:"partitions" json:"partitions"` // 4
	Embedded   bool `yaml:"embedded" json:"embedded"`     // an imitation within the suite, for a quick look
}

// Target is a program to measure.
type Target struct {
	Name string `yaml:"name" json:"name"`
	// Command starts a program other than ingest. "{listen}", "{admin}", "{brokers}", "{topic}", "{discard}"
	// (a TCP address that reads everything and acknowledges nothing) and "{dir}" (a folder of its own) are
	// replaced in it.
	Command []string `yaml:"command" json:"command,omitempty"`
	// Binary is another build of ingest; empty: the one that the suite measures.
	Binary string `yaml:"binary" json:"binary,omitempty"`
	// Args are further arguments of ingest serve.
	Args []string `yaml:"args" json:"args,omitempty"`
	Env  []string `yaml:"env" json:"env,omitempty"`
	// Ready is asked until it answers 200 ("http://{listen}/health") or takes a connection ("tcp:{listen}").
	Ready string `yaml:"ready" json:"ready,omitempty"`
	Path  string `yaml:"path" json:"path,omitempty"` // to post to; /v1/events
	// Records is what a topic must hold in the end: "events" (at least those answered 200; of ingest exactly
	// those), "bodies", or "none" when the program does not write to Kafka.
	Records string `yaml:"records" json:"records,omitempty"`
}

// Load is one load on a target.
type Load struct {
	Name     string  `yaml:"name" json:"name"`
	Profile  string  `yaml:"profile" json:"profile"` // see load.Profiles
	Events   int     `yaml:"events" json:"events,omitempty"`
	Encoding string  `yaml:"encoding" json:"encoding,omitempty"`
	Conns    int     `yaml:"conns" json:"conns"` // 16
	Arrivals string  `yaml:"arrivals" json:"arrivals,omitempty"`
	Rate     float64 `yaml:"rate" json:"rate,omitempty"`   // events per second
	Share    float64 `yaml:"share" json:"share,omitempty"` // of what the scenario's first load reached, instead of a rate
	// Search makes it a search of the highest sustained rate; its row is that of the highest trial that passed.
	Search           *Search  `yaml:"search" json:"search,omitempty"`
	RetryAfter       bool     `yaml:"retryAfter" json:"retryAfter,omitempty"`
	ReadWhileWriting bool     `yaml:"readWhileWriting" json:"readWhileWriting,omitempty"`
	WarmUp           Duration `yaml:"warmUp" json:"warmUp"`
	Duration         Duration `yaml:"duration" json:"duration"`
	Args             []string `yaml:"args" json:"args,omitempty"` // of ingest serve; not with shared
	Partitions       int      `yaml:"partitions" json:"partitions,omitempty"`
	Faults           []Fault  `yaml:"faults" json:"faults,omitempty"`
	// Expect makes the run fail when it does not hold.
	Expect Expect `yaml:"expect" json:"expect"`
}

// Fault is something that goes wrong while a load is measured.
type Fault struct {
	Kind   string   `yaml:"kind" json:"kind"` // freeze, kill, stop
	Broker int      `yaml:"broker" json:"broker"`
	At     Duration `yaml:"at" json:"at"`
	For    Duration `yaml:"for" json:"for"`
}

// Expect is what must hold of a load. Zero values are not looked at.
type Expect struct {
	PeakRSSMiB float64 `yaml:"peakRSSMiB" json:"peakRSSMiB,omitempty"`
	// Answered: every request is answered, and every 503 says when to come again.
	Answered bool `yaml:"answered" json:"answered,omitempty"`
	// ShareOfFirst is the least part of the first load's events per second.
	ShareOfFirst float64 `yaml:"shareOfFirst" json:"shareOfFirst,omitempty"`
	// RefusalP99 is the longest time to a refusal.
	RefusalP99 Duration `yaml:"refusalP99" json:"refusalP99,omitempty"`
}

// Duration is a time.Duration that is written like 250ms.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Parse reads a scenario from YAML and fills in what it leaves out. Keys that do not exist are errors.
func Parse(text []byte) (*Scenario, error) {
	s := &Scenario{}
	if err := yaml.UnmarshalWithOptions(text, s, yaml.DisallowUnknownField()); err != nil {
		return nil, err
	}
	if err := s.complete(); err != nil {
		return nil, fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	return s, nil
}

func or[T comparable](v *T, values ...T) {
	var zero T
	for _, d := range values {
		if *v == zero {
			*v = d
		}
	}
}

func (s *Scenario) complete() error {
	or(&s.Title, s.Name)
	or(&s.Kafka.Brokers, 1)
	or(&s.Kafka.Partitions, 4)
	or(&s.Rounds, 1)
	or(&s.WarmUp, Duration(2*time.Second))
	or(&s.Duration, Duration(6*time.Second))
	if len(s.Targets) == 0 {
		s.Targets = []Target{{Name: "ingest"}}
	}
	if s.Name == "" || len(s.Loads) == 0 {
		return errors.New("a name and at least one load are needed")
	}
	for i := range s.Targets {
		t := &s.Targets[i]
		or(&t.Records, "events")
		or(&t.Path, "/v1/events")
		if t.Name == "" || len(t.Command) > 0 && t.Ready == "" {
			return errors.New("a target needs a name, and a command needs a ready probe")
		}
	}
	if s.Interleaved && (s.Shared || slices.ContainsFunc(s.Loads, func(l Load) bool { return l.Share > 0 || l.Search != nil })) {
		return errors.New("loads that are interleaved are not shared, no search, and no share of the first one")
	}
	for i := range s.Loads {
		if err := s.Loads[i].complete(s, i == 0); err != nil {
			return fmt.Errorf("load %q: %w", s.Loads[i].Name, err)
		}
	}
	for _, c := range s.Charts {
		if _, ok := charts[c]; !ok {
			return fmt.Errorf("no chart %q", c)
		}
	}
	return nil
}

func (l *Load) complete(s *Scenario, first bool) error {
	or(&l.Profile, "100")
	or(&l.Conns, 16)
	or(&l.WarmUp, s.WarmUp)
	or(&l.Duration, s.Duration)
	or(&l.Partitions, s.Kafka.Partitions)
	or(&l.Name, l.Profile)
	if l.Search != nil {
		l.Search.complete()
		or(&l.Rate, l.Search.From)
	}
	if l.Arrivals == "" && l.Rate+l.Share > 0 {
		l.Arrivals = string(load.Poisson)
	}
	if _, err := load.Named(l.Profile); err != nil {
		return err
	}
	switch {
	case l.Share > 0 && first:
		return errors.New("the first load cannot be a share of itself")
	case l.Arrivals != "" && l.Rate+l.Share == 0:
		return errors.New("arrivals need a rate or a share")
	case s.Shared && (len(l.Args) > 0 || l.Partitions != s.Kafka.Partitions):
		return errors.New("loads that share a process have no arguments and partitions of their own")
	}
	for _, f := range l.Faults {
		if f.Kind != "freeze" && f.Kind != "kill" && f.Kind != "stop" || f.Broker >= s.Kafka.Brokers || s.Kafka.Embedded {
			return fmt.Errorf("fault %q of broker %d cannot be made here", f.Kind, f.Broker)
		}
	}
	return nil
}

// Against puts another build of ingest beside each target that is ingest, and leaves out all others. The names
// begin with "base" and "new". An error: there is none that is ingest.
func (s *Scenario) Against(binary string) error {
	var targets []Target
	for _, t := range s.Targets {
		if len(t.Command) > 0 {
			continue
		}
		name := ""
		if t.Name != "ingest" {
			name = " " + t.Name
		}
		base := t
		base.Name, base.Binary = "base"+name, binary
		t.Name = "new" + name
		targets = append(targets, base, t)
	}
	if len(targets) == 0 {
		return fmt.Errorf("%s: no target is ingest: nothing to compare", s.Name)
	}
	s.Targets = targets
	s.WarmRounds = max(s.WarmRounds, 1)
	return nil
}
