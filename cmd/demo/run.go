package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

const (
	drainTimeout = 30 * time.Second       // of the consumer, once ingest has ended
	frameEvery   = 250 * time.Millisecond // on a terminal
	lineEvery    = time.Second            // elsewhere
)

// run is the demo from its start to its account; ok says that nothing differs. An error means that there is
// no account to give. ctx ends it early.
func run(ctx context.Context, o options, out *screen) (ok bool, err error) {
	bin := o.bin
	if bin == "" {
		dir, err := os.MkdirTemp("", "ingest-demo-")
		if err != nil {
			return false, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		out.say("building ingest …")
		if bin, err = build(ctx, dir); err != nil {
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
	out.say("starting ingest …")
	p, err := startIngest(ctx, bin, b.addr())
	if err != nil {
		return false, err
	}
	defer p.kill()
	out.say(fmt.Sprintf("ingest on %s, Kafka (%s) on %s", p.listen, brokerLibrary, b.addr()))

	posting, stop := context.WithTimeout(ctx, o.duration)
	defer stop()
	t := startTraffic(posting, p.listen, o, transport(o))
	show(posting, &watched{options: o, traffic: t, ingest: p, consumer: c}, out)

	stop()
	out.say("stopping ingest, reading the topics to their ends …")
	ev := finish(b, p, t, c)
	differences := judge(&ev.evidence)
	out.print(summary(out.colors, ev, differences))
	if len(differences) > 0 {
		out.print(logTail(p.stderr.String()))
	}
	return len(differences) == 0, nil
}

// finished is the evidence and what else the summary tells.
type finished struct {
	evidence
	last moment
	took time.Duration
}

// finish ends the parts, front to back, and collects what each of them knows.
func finish(b *broker, p *ingest, t *traffic, c *consumer) *finished {
	ev := &finished{}
	account, stats, latency := t.wait()
	ev.took = time.Since(t.begun)
	ev.posted, ev.traffic, ev.last.latency = account, stats, *latency
	if g, err := p.scrape(context.Background()); err == nil {
		ev.last.gauges = g
	}
	var err error
	if ev.exitCode, ev.ledger, err = p.stop(); err != nil {
		ev.problems = append(ev.problems, err.Error())
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if ev.consumed, err = c.drain(ctx, b.ends()); err != nil {
		ev.problems = append(ev.problems, err.Error())
	}
	ev.last.seen = c.look()
	return ev
}

// show draws until ctx ends or ingest does, and what there is to see then.
func show(ctx context.Context, w *watched, out *screen) {
	every := lineEvery
	if out.terminal {
		every = frameEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	v := newView(w.options, out.colors)
	for over := false; !over; {
		select {
		case <-ctx.Done():
			over = true
		case <-w.ingest.exited:
			over = true
		case <-tick.C:
		}
		v.add(w.look())
		if out.terminal {
			out.draw(v.frame())
		} else if !over {
			out.say(v.line())
		}
	}
	if last := v.last(); !out.terminal { // every frame has them
		out.print(v.records(&last.seen))
	}
}
