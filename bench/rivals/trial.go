package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/oracle"
	"functiongraph-ingest/test/proc"
)

const (
	connections = 64
	bodyEvents  = 20
	partitions  = 4

	fullSpeed    = 3 * time.Second // a trial without a rate
	startWithin  = 60 * time.Second
	arriveWithin = 2 * time.Minute // from the last answer to the last event in the topic
	stopWithin   = 60 * time.Second
	answerWithin = 60 * time.Second
)

// fault is what happens to the broker.
type fault struct {
	name       string
	full       bool                           // clients offer what they can, for fullSpeed
	begin, end func(*kafkatest.Cluster) error // nil: nothing happens
}

var faults = []fault{ // read only
	{name: "none"},
	{name: "none, full speed", full: true},
	{"broker killed", false, func(k *kafkatest.Cluster) error { return k.Kill(0) }, func(k *kafkatest.Cluster) error { return k.Restart(0) }},
	{"broker frozen", false, func(k *kafkatest.Cluster) error { return k.Freeze(0) }, func(k *kafkatest.Cluster) error { return k.Thaw(0) }},
}

// row is one program under one fault.
type row struct {
	program, answers, fault string

	acked         int           // events answered 200
	longest       time.Duration // answer 200
	otherwise     int64         // bodies answered otherwise, and those without an answer
	perEvent      time.Duration // CPU time of the program
	peakRSS       int64         // bytes
	lost, doubled int           // events answered 200 and not in the topic; copies in the topic beyond the first
	refused       int           // events answered 503 that are in the topic
	disordered    int
}

// trial runs one program under one fault, with a topic of its own.
func (s *settings) trial(ctx context.Context, kafka *kafkatest.Cluster, p program, f fault) (_ *row, err error) {
	topic := strings.NewReplacer(" ", "-", "=", "-", "+", "and", ",", "").Replace(p.name + "-" + f.name)
	if err := kafka.CreateTopic(topic, partitions, nil); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ingest-rival-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fill := strings.NewReplacer("{brokers}", kafka.Bootstrap(), "{topic}", topic, "{dir}", dir)
	o := proc.Options{Bin: p.bin}
	for _, a := range p.args {
		o.Args = append(o.Args, fill.Replace(a))
	}
	process, err := proc.Launch(o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = process.Close() }()
	if err := listens(ctx, process); err != nil {
		return nil, err
	}
	rate := s.rate
	if f.full {
		rate = 0
	}
	judge := oracle.New(connections)
	clients, err := load.Start(ctx, load.Options{
		Addr: process.Listen, Conns: connections, MaxRate: rate, RetryAfter: true, Timeout: answerWithin, Recorder: judge,
		Profile: load.Profile{Events: bodyEvents, Marked: true},
	})
	if err != nil {
		return nil, err
	}
	defer clients.Stop()
	if err := s.disturb(ctx, kafka, f); err != nil {
		return nil, err
	}
	result := clients.Stop()[0]
	if err := arrived(ctx, kafka, topic, result.Events); err != nil {
		return nil, err
	}
	cpu, err := process.CPU()
	if err != nil {
		return nil, fmt.Errorf("it is gone: %w; it said:\n%s", err, process.Stderr())
	}
	r := &row{program: p.name, answers: p.answers, fault: f.name, longest: result.Latency.Max(), otherwise: result.Answers() - result.Status[200] + result.NoReply}
	if r.peakRSS, err = process.PeakRSS(); err != nil {
		return nil, err
	}
	ended, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if _, err := process.Stop(ended); err != nil {
		return nil, err
	}
	report, err := judge.Read(ctx, kafka.Bootstrap(), topic)
	if err != nil {
		return nil, err
	}
	r.judged(report, cpu)
	return r, kafka.DeleteTopic(topic)
}

func (r *row) judged(report *oracle.Report, cpu time.Duration) {
	r.acked, r.lost, r.doubled = report.Acked, report.Lost, report.Doubled+report.Repeated
	r.refused, r.disordered = report.RefusedDelivered, report.OutOfOrder+report.OpenOutOfOrder
	r.perEvent = cpu / time.Duration(max(1, report.Acked))
}

// disturb lets the load run, with the fault in its middle.
func (s *settings) disturb(ctx context.Context, kafka *kafkatest.Cluster, f fault) error {
	if f.full {
		return pause(ctx, fullSpeed)
	}
	if err := pause(ctx, s.before); err != nil || f.begin == nil {
		return err
	}
	if err := f.begin(kafka); err != nil {
		return err
	}
	if err := pause(ctx, s.fault); err != nil {
		return err
	}
	if err := f.end(kafka); err != nil {
		return err
	}
	return pause(ctx, s.after)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// arrived waits until the topic has so many events, which were answered 200, or until nobody can wait any longer: what
// is missing then counts as lost.
func arrived(ctx context.Context, kafka *kafkatest.Cluster, topic string, events int64) error {
	deadline := time.Now().Add(arriveWithin)
	for {
		n, err := kafka.Count(topic)
		if err != nil || n >= events || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// listens waits until the program takes connections.
func listens(ctx context.Context, p *proc.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", p.Listen)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.Exited():
			return fmt.Errorf("it ended; it said:\n%s", p.Stderr())
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w; it said:\n%s", err, p.Stderr())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
