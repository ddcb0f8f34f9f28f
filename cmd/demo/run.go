package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"functiongraph-ingest/internal/fgsim"
)

const (
	drainTimeout = 30 * time.Second       // of the consumer, once ingest has ended
	frameEvery   = 250 * time.Millisecond // on a terminal
	lineEvery    = time.Second            // elsewhere
)

var errNotLinux = errors.New("the demo needs Linux: the simulated platform freezes, limits and measures processes by its means")

// run is the demo from its start to its account; ok says that nothing differs. An error means that there is
// no account to give. ctx ends it early.
func run(ctx context.Context, o options, out *screen) (ok bool, err error) {
	if runtime.GOOS != "linux" {
		return false, errNotLinux
	}
	dir, err := os.MkdirTemp("", "ingest-demo-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	zip := o.zip
	if zip == "" {
		out.say("building the dependency package …")
		if zip, err = build(ctx, dir); err != nil {
			return false, err
		}
	}
	b, err := startBroker()
	if err != nil {
		return false, err
	}
	defer b.close()
	// The consumer goes on after a Ctrl-C: it has to see the end.
	c, err := startConsumer(context.WithoutCancel(ctx), b.addr())
	if err != nil {
		return false, err
	}
	defer c.close()
	t := newTraffic()
	p, err := startIngest(ctx, o, zip, dir, b.addr(), t)
	if err != nil {
		return false, err
	}
	out.say("Kafka (" + brokerLibrary + ") listens on " + b.addr())
	out.say("FunctionGraph (simulated) starts " + filepath.Base(zip))
	if o.open {
		o.page = "http://" + p.admin + "/"
		out.say("the status page: " + o.page)
	}
	stop := b.trouble(ctx, o.duration)
	w := &watched{options: o, traffic: t, ingest: p, consumer: c, broker: b}
	last := show(w, out)
	stop()
	report, err := p.wait()
	if err != nil {
		return false, err
	}
	out.say("ingest has ended, reading the topics to their ends …")
	ev := finish(b, report, t, c)
	ev.last.gauges, ev.last.status = last.gauges, last.status
	ev.looks, ev.spooled, ev.frozen = w.looks, w.spooled, b.cold.wasFrozen()
	differences := judge(&ev.evidence)
	out.print(summary(out.colors, ev, differences))
	if len(differences) > 0 {
		out.print(logTail(report.Printed.Tail))
	}
	return len(differences) == 0, nil
}

// finished is the evidence and what else the summary tells.
type finished struct {
	evidence
	last moment
}

// finish reads the topics to their ends and collects what each part knows.
func finish(b *broker, report *fgsim.Report, t *traffic, c *consumer) *finished {
	ev := &finished{evidence: evidence{report: report, ledger: lastLedger(report.Printed.Tail)}}
	ev.traffic, ev.last.latency = t.end()
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var err error
	if ev.consumed, err = c.drain(ctx, b.ends()); err != nil {
		ev.problems = append(ev.problems, err.Error())
	}
	for _, s := range ev.consumed.sightings {
		t.account.Saw(s)
	}
	ev.account = t.account.Verdict()
	ev.last.seen = c.look()
	return ev
}

// show draws until the extension has ended, and returns what was there to see last.
func show(w *watched, out *screen) moment {
	every := lineEvery
	if out.terminal {
		every = frameEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	v := newView(w.options, out.colors)
	for {
		select {
		case <-w.ingest.over:
			if seen := w.consumer.look(); !out.terminal { // every frame has them
				out.print(v.records(&seen))
			}
			if len(v.moments) == 0 {
				return moment{}
			}
			return v.last()
		case <-tick.C:
		}
		v.add(w.look())
		if out.terminal {
			out.draw(v.frame())
		} else {
			out.say(v.line())
		}
	}
}
