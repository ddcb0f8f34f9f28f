package main

import (
	"fmt"
	"time"

	"functiongraph-ingest/bench/suite"
)

// profile is a kind of place where ingest runs.
type profile struct {
	Name  string   `json:"name"`
	Title string   `json:"title"`
	Cores float64  `json:"cores"` // 0: no limit
	Args  []string `json:"args"`
	Conns int      `json:"connections"`
	From  float64  `json:"-"` // where the search begins, events per second
}

func profiles() []profile {
	return []profile{
		{"small", "an instance of 128 MB with 0.1 core", 0.1, []string{"--ack", "accept", "--memory-limit", "32MiB"}, 64, 8000},
		{"medium", "an instance of 512 MB with half a core", 0.5, []string{"--ack", "accept", "--memory-limit", "64MiB"}, 256, 40_000},
		{"server", "a server of 2 cores, 200 after Kafka's ack", 0, []string{"--ack", "kafka"}, 256, 80_000},
	}
}

// setting is a flag of ingest serve and what it is tried with; the default is among the values.
type setting struct {
	flag    string
	values  []string
	initial string // the default, as one of values
	only    string // a profile; "": all
}

// settings are those that the curves depend on. There is no setting for the requests in flight: it is two per
// broker, by design.
func settings() []setting {
	return []setting{
		{"ring-items", []string{"16", "64", "256", "1024", "4096"}, "1024", ""},
		{"decoders", []string{"1", "2", "4"}, "1", ""},
		{"batch-bytes", []string{"32KiB", "64KiB", "128KiB", "256KiB", "512KiB"}, "256KiB", ""},
		{"buffer-bytes", []string{"4MiB", "8MiB", "16MiB", "32MiB"}, "16MiB", ""},
		{"linger", []string{"1ms", "5ms", "20ms", "50ms"}, "20ms", "accept"},
		{"linger", []string{"0ms", "1ms", "5ms", "20ms"}, "1ms", "kafka"},
		{"codec", []string{"none", "snappy", "lz4", "zstd", "gzip"}, "snappy", ""},
		{"admit-wait", []string{"1ms", "10ms", "100ms", "500ms"}, "100ms", ""},
	}
}

// fits reports whether a setting is swept in a profile.
func (s *setting) fits(p *profile) bool { return s.only == "" || s.only == p.Args[1] }

// The conditions of a sustained rate.
const (
	mostP99     = 250 * time.Millisecond
	mostRefused = 0.001
)

// scenario is one value of one setting in one profile: the highest sustained rate, then half of it, where cost
// and latency are read, then twice of it, where the overload is.
func scenario(p *profile, flag, value string, trial time.Duration) *suite.Scenario {
	args := append([]string{}, p.Args...)
	if flag != "" {
		args = append(args, "--"+flag, value)
	}
	d := suite.Duration(trial)
	text := fmt.Sprintf("%s %s=%s", p.Name, flag, value)
	return &suite.Scenario{
		Name: text, Title: text, Kafka: suite.Kafka{Brokers: 1, Partitions: 4}, CPU: p.Cores, Args: args, Rounds: 1, Shared: true,
		Targets: []suite.Target{{Name: "ingest", Path: "/v1/events", Records: "events"}},
		Loads: []suite.Load{
			{
				Name: "sustained", Profile: "100", Conns: p.Conns, Arrivals: "poisson", Rate: p.From, WarmUp: d / 2, Duration: d, Partitions: 4,
				Search: &suite.Search{From: p.From, P99: suite.Duration(mostP99), Refused: mostRefused, Precision: 0.06},
			},
			{Name: "half", Profile: "100", Conns: p.Conns, Arrivals: "poisson", Share: 0.5, WarmUp: d / 2, Duration: d, Partitions: 4},
			{Name: "twice", Profile: "100", Conns: p.Conns, Arrivals: "poisson", Share: 2, WarmUp: d / 2, Duration: d, Partitions: 4},
		},
	}
}
