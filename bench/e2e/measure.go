package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// scenario is one kind of load.
type scenario struct {
	Name   string `json:"name"`
	Events int    `json:"eventsPerBody"`
	Conns  int    `json:"connections"`
}

func scenarios() []scenario {
	return []scenario{
		{"1/body, 1 conn", 1, 1},
		{"1/body, 16 conns", 1, 16},
		{"1/body, 256 conns", 1, 256},
		{"100/body, 16 conns", 100, 16},
		{"1000/body, 16 conns", 1000, 16},
	}
}

// row is one scenario in one round.
type row struct {
	scenario
	Round         int     `json:"round"`
	EventsPerSec  float64 `json:"eventsPerSecond"`
	EventsPerCPU  float64 `json:"eventsPerCPUSecond"` // user and system time of the process itself
	CPUShare      float64 `json:"cores"`              // of one core, while measuring
	P50           float64 `json:"p50Millis"`
	P99           float64 `json:"p99Millis"`
	P999          float64 `json:"p999Millis"`
	Max           float64 `json:"maxMillis"`
	PeakRSS       int64   `json:"peakRSSBytes"`
	AllocsPerEv   float64 `json:"allocationsPerEvent"`
	GeneratorCPU  float64 `json:"generatorEventsPerCPUSecond"`
	Acked         int64   `json:"acked"`     // events answered 200, from the first to the last
	AtBroker      int64   `json:"atBroker"`  // sum of the end offsets
	Delivered     int64   `json:"delivered"` // by the last ledger
	OtherAnswers  int64   `json:"otherAnswers"`
	WithoutAnswer int64   `json:"withoutAnswer"`
	Problem       string  `json:"problem,omitempty"`
}

// Names of the product's metrics that are read here.
const metricAllocations = "ingest_process_allocated_objects_total"

func measure(ctx context.Context, s *settings, kafka *kafkatest.Cluster, sc scenario, round int) (*row, error) {
	topic := fmt.Sprintf("bench-%d-%d-%d", round, sc.Events, sc.Conns)
	if err := kafka.CreateTopic(topic, s.partitions, map[string]string{
		"segment.bytes": strconv.Itoa(128 << 20), "retention.bytes": strconv.Itoa(128 << 20), "file.delete.delay.ms": "100",
	}); err != nil {
		return nil, err
	}
	p, err := start(ctx, s, kafka, topic)
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close() }()
	r := &row{scenario: sc, Round: round}
	if err := r.load(ctx, s, p); err != nil {
		return nil, fmt.Errorf("%w; ingest said:\n%s", err, p.Stderr())
	}
	if r.PeakRSS, err = p.PeakRSS(); err != nil {
		return nil, err
	}
	code, err := p.Stop(ctx)
	if err != nil {
		return nil, err
	}
	ledger, err := p.LastLedger()
	if err != nil {
		return nil, err
	}
	if r.AtBroker, err = kafka.Count(topic); err != nil {
		return nil, err
	}
	r.check(code, ledger)
	return r, kafka.DeleteTopic(topic)
}

func start(ctx context.Context, s *settings, kafka *kafkatest.Cluster, topic string) (*proc.Process, error) {
	args := []string{"--codec", "none", "--ack", "kafka"}
	if s.profile != "" {
		args = append(args, "--pprof")
	}
	p, err := proc.Launch(proc.Serve(s.binary, kafka.Bootstrap(), topic, append(args, s.args...)...))
	if err != nil {
		return nil, err
	}
	if err := p.WaitReady(ctx); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// load runs the clients and fills in what is measured while they run.
func (r *row) load(ctx context.Context, s *settings, p *proc.Process) error {
	clients, err := load.Start(ctx, load.Options{
		Addr: p.Listen, Conns: r.Conns,
		Profile: load.Profile{Events: r.Events, Seed: uint64(r.Round)},
	})
	if err != nil {
		return err
	}
	defer clients.Stop()
	if err := pause(ctx, p, s.warmUp); err != nil {
		return err
	}
	before, err := look(p)
	if err != nil {
		return err
	}
	clients.Next()
	if s.profile != "" {
		err = r.saveProfile(p, s)
	} else {
		err = pause(ctx, p, s.measure)
	}
	if err != nil {
		return err
	}
	clients.Next()
	after, err := look(p)
	if err != nil {
		return err
	}
	phases := clients.Stop()
	m := phases[1]
	cpu := (after.cpu - before.cpu).Seconds()
	r.EventsPerSec = m.EventsPerSecond()
	r.EventsPerCPU = float64(m.Events) / cpu
	r.CPUShare = cpu / m.Elapsed.Seconds()
	r.GeneratorCPU = float64(m.Events) / (after.self - before.self).Seconds()
	r.P50, r.P99 = millis(m.Latency.Quantile(0.5)), millis(m.Latency.Quantile(0.99))
	r.P999, r.Max = millis(m.Latency.Quantile(0.999)), millis(m.Latency.Max())
	r.AllocsPerEv = (after.allocs - before.allocs) / float64(m.Events)
	for _, phase := range phases {
		r.Acked += phase.Events
		r.WithoutAnswer += phase.NoReply + phase.Refused
		for status, n := range phase.Status {
			if status != 200 {
				r.OtherAnswers += n
			}
		}
	}
	return nil
}

// check compares what was answered with what is there.
func (r *row) check(code int, l *proc.Ledger) {
	r.Delivered = l.Delivered
	switch err := l.Balance(); {
	case err != nil:
		r.Problem = err.Error()
	case r.AtBroker != l.Delivered:
		r.Problem = fmt.Sprintf("%d at the broker, the ledger says %d", r.AtBroker, l.Delivered)
	case r.WithoutAnswer == 0 && r.OtherAnswers == 0 && r.Acked != l.Delivered:
		r.Problem = fmt.Sprintf("%d acked, %d delivered", r.Acked, l.Delivered)
	case l.Delivered < r.Acked:
		r.Problem = fmt.Sprintf("%d acked, only %d delivered", r.Acked, l.Delivered)
	case code != 0:
		r.Problem = fmt.Sprintf("exit code %d", code)
	}
}

// reading is what the process has used up so far.
type reading struct {
	cpu    time.Duration
	self   time.Duration // of this process, most of it the clients
	allocs float64
}

func look(p *proc.Process) (reading, error) {
	m, err := p.Metrics()
	if err != nil {
		return reading{}, err
	}
	allocs, ok := m[metricAllocations]
	if !ok {
		return reading{}, fmt.Errorf("no metric %s", metricAllocations)
	}
	cpu, err := p.CPU()
	return reading{cpu: cpu, self: selfCPU(), allocs: allocs}, err
}

// pause waits for d, or fails when the run or the process ends before.
func pause(ctx context.Context, p *proc.Process, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.Exited():
		return fmt.Errorf("ingest ended under load")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// saveProfile takes a CPU profile as long as the measurement.
func (r *row) saveProfile(p *proc.Process, s *settings) error {
	seconds := max(1, int(s.measure.Seconds()))
	status, profile, err := p.GetWithin(time.Duration(seconds)*time.Second+time.Minute, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
	if err != nil {
		return err
	}
	if status != 200 {
		return fmt.Errorf("/debug/pprof answered %d: %.200q", status, profile)
	}
	if err := os.MkdirAll(s.profile, 0o755); err != nil {
		return err
	}
	name := fmt.Sprintf("%d-per-body-%d-conns-round-%d.pprof", r.Events, r.Conns, r.Round)
	return os.WriteFile(filepath.Join(s.profile, name), profile, 0o644)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
